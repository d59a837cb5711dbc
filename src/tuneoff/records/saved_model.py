"""What a saved model is, beside what plain transformers and peft read of it: `model/tuneoff.json`."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from tuneoff.core.long_texts import LongTexts
from tuneoff.records.export_check import ExportCheck
from tuneoff.records.number_scale import NumberScale
from tuneoff.records.record import Record

SAVED_MODEL: Final = "tuneoff.json"
"""Name of the file."""


SavedKind = Literal["whole", "adapter", "bottleneck", "features", "onnx"]
RefitRows = Literal["train+validation", "all"]
"""What a refit trains on: with `all` on the test split as well, so that nothing is left to test it on."""
REFIT_WORDS: Final[dict[RefitRows, str]] = {"train+validation": "train and validation", "all": "all labelled rows"}


class BaseModel(Record):
    """The pretrained model that a saved one was made from; no path of the machine that it was made on."""

    id: str
    """a Hub id, `package:NAME`, or the name of a folder"""
    revision: str | None = None
    """its commit on the Hub; null of what is not there"""
    fingerprint: str
    """hash of the names and contents of its files"""
    path: str | None = None
    """of a local folder, from the folder of this file; null where nothing but the root is common to both"""
    in_4_bits: bool = False
    """whether its weights are stored in 4 bits already"""
    is_encoder_decoder: bool = False
    """whether it is of two stacks, as T5 is"""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, rather than on the Hub or in a package."""
        return self.revision is None and not self.id.startswith("package:")


class TextRules(Record):
    """How texts become tokens, and the model's outputs labels."""

    task: str = "single_label"
    """what a label is: `single_label`, `multi_label`, `regression`"""
    label_names: tuple[str, ...]
    """of the model's outputs, in their order: classes, labels, or what the number is"""
    scale: NumberScale = NumberScale()
    """of a number"""
    temperature: float = Field(default=1.0, gt=0)
    """that logits are divided by before they become probabilities; chosen on validation"""
    thresholds: tuple[float, ...] = ()
    """probabilities, at the temperature, above which labels are answered, chosen on validation for the objective: of
    several labels one each, of two classes that of the second; empty where answers are the most probable"""
    max_length: int
    """tokens that are read of a text at once, special tokens included; of a pair, the longer text is cut first"""
    long_texts: LongTexts = "head"
    """what is read of longer texts: `head`, `tail`, `head+tail`, or all in `windows` (the mean of their logits) or
    `windows-max` (the greatest of each class)"""
    text: str | None = None
    """the study's column of texts; null where an earlier version has found it by its name"""
    text_pair: str | None = None
    """the study's column of second texts; null where an example is one text"""

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        classes = len(self.label_names)
        if not 1 <= self.max_length < 1 << 31 or classes == 0 or len(set(self.label_names)) < classes:
            raise ValueError("texts of no length, or no classes, or two of one name")
        if len(self.thresholds) not in {0, 1 if self.task == "single_label" else classes}:
            raise ValueError("as many thresholds as labels are needed; of two classes one")
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError("thresholds are probabilities between 0 and 1")
        return self


class SavedModel(Record):
    """What a folder of a saved model holds, and where it comes from."""

    schema_version: Literal[1] = 1
    """of this file"""
    kind: SavedKind
    """`whole`: all weights, which transformers loads; `adapter`: what peft loads onto the base model; `bottleneck`:
    networks behind layers of the base model, and its head (`bottlenecks.safetensors`); `features`: a linear head on the
    mean of the base model's last hidden states (`head.safetensors`); `onnx`: a graph with all weights, which
    onnxruntime loads (`model.onnx`)"""
    base: BaseModel
    """what it was trained from; of an `adapter`, `bottleneck` or `features` what it needs"""
    texts: TextRules
    """how texts become tokens, and classes labels"""
    study: str
    """name of the study"""
    run_id: str
    """of the run that trained it"""
    arm: str
    """name of the arm"""
    method: str
    """its method"""
    refit: RefitRows | None = None
    """rows that it was trained on once more after the study, which then tells nothing of this very model; null of a
    run of the study"""
    seed: int
    """of the run"""
    learning_rate: float
    """of the run"""
    precision: Literal["fp32", "bf16"]
    """that it was trained and scored in"""
    quantization: str | None = None
    """how the base model's weights are stored (such as `nf4`), as `quantization_config.json` says; null in full
    precision"""
    virtual_tokens: int = 0
    """that its tokenizer puts into each text, with embeddings of their own behind those of the base model"""
    sha256: dict[str, str]
    """of the folder's other files that a model is loaded from, by name"""
    check: ExportCheck | None = None
    """how an export was compared with what the study stored; null in a run's folder"""

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, stored: Any) -> Any:
        """Which only knew that the base model was in 4 bits, or not."""
        if isinstance(stored, dict) and "quantised" in stored:
            stored = dict(stored)
            stored["quantization"] = "nf4" if stored.pop("quantised") else None
        return stored

    @property
    def quantised(self) -> bool:
        """Whether the base model is not in full precision."""
        return self.quantization is not None

    @property
    def needs_base(self) -> bool:
        """Whether it is computed with the base model's weights."""
        return self.kind in ("adapter", "bottleneck", "features")

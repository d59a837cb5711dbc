"""`[[arms]]` of a study file: a fine-tuning method with its options, which also says how it changes a model."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

from pydantic import Field, field_validator

from tuneoff.core.frozen import Frozen
from tuneoff.core.long_texts import LongTexts
from tuneoff.core.names import made_of
from tuneoff.core.registry import Registry
from tuneoff.records.described import DescribedMethod, DescribedOption
from tuneoff.spec.quantization import QUANTIZATIONS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from tuneoff.models.load import LoadedModel


class ArmSpec(Frozen):
    """An arm of a study: one configured method.

    A method is a subclass in one file of `tuneoff.methods`, or of another package, which names it as an entry point of
    the group `tuneoff.methods`. It names the method, declares its options as fields with their published defaults, and
    implements `adapt`. Nothing else needs to be edited.
    """

    title: ClassVar[str] = "a method of its own"
    """What people call it, such as LoRA."""
    summary: ClassVar[str]
    """One line for `tuneoff methods`."""
    reference: ClassVar[str]
    """Where the method comes from."""
    shortfall: ClassVar[str] = ""
    """Where it stayed more than four points behind full fine-tuning in `docs/results.md`, and why."""
    starting_rate: ClassVar[float | None] = None
    """Where the search for a learning rate begins, for a model of width 768 and 1,000 steps (`tuneoff.study.rates`)."""
    backbone_bits: ClassVar[tuple[int, ...]] = ()
    """In how many bits the backbone's weights may be stored, beside full precision."""
    mergeable: ClassVar[bool] = False
    """Whether what it adds can be merged into the weights once it is trained, and then takes no time of its own."""
    fitted: ClassVar[bool] = False
    """Whether `fit` makes the head from features of the pretrained model, and nothing is trained in gradient steps."""
    reads_texts: ClassVar[bool] = False
    """Whether `start` reads training texts before the first step."""
    draws: ClassVar[bool] = False
    """Whether its forward pass draws random numbers by itself, other than by PyTorch's dropout modules."""

    method: str
    name: Annotated[str, made_of(r"[A-Za-z0-9._+=-]*", "letters, digits, '.', '_', '+', '=' and '-'")] = Field(
        default="", max_length=60, description="name of the arm; the method's name when left out"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="peak learning rate, taken as it is; found by tuning when left out"
    )
    learning_rate_range: tuple[float, float] | None = Field(
        default=None,
        description="where tuning.strategy = 'optuna' looks; a tenth to ten times the starting rate if left out",
    )

    long_texts: LongTexts | None = Field(
        default=None, description="what it reads of texts longer than data.max_length; data.long_texts if left out"
    )
    quantization: str | None = Field(
        default=None,
        description="how bitsandbytes stores the frozen backbone: nf4, fp4 or int8; unquantised if left out",
    )

    @field_validator("quantization")
    @classmethod
    def _can_be(cls, value: str | None) -> str | None:
        if value is not None and QUANTIZATIONS.named(value).bits not in cls.backbone_bits:
            able = f"in {' or '.join(cls.quantizations())}" if cls.backbone_bits else "in full precision alone"
            raise ValueError(f"{cls.registered_name()} trains on a backbone {able}")
        return value

    @classmethod
    def quantizations(cls) -> tuple[str, ...]:
        """How the backbone's weights may be stored, beside full precision."""
        return tuple(name for name, kind in QUANTIZATIONS.classes().items() if kind.bits in cls.backbone_bits)

    @field_validator("learning_rate_range")
    @classmethod
    def _lower_first(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] < value[1]:
            raise ValueError("write two rates above 0, the lower one first")
        return value

    def model_post_init(self, _context: Any) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.method)

    @property
    def quantised(self) -> bool:
        """Whether the backbone's weights are not in full precision."""
        return self.quantization is not None

    @property
    def rate(self) -> float:
        """The learning rate, once it is settled: named by the study, found by tuning, or the starting rate."""
        assert self.learning_rate is not None
        return self.learning_rate

    @classmethod
    def registered_name(cls) -> str | None:
        """What `method` calls it; None of what several methods share."""
        named = get_args(cls.model_fields["method"].annotation)
        return named[0] if named else None

    @classmethod
    def idea(cls) -> str:
        """What it is: the docstring of its class, or of its module where that has none."""
        return inspect.cleandoc(vars(cls).get("__doc__") or sys.modules[cls.__module__].__doc__ or "")

    @classmethod
    def formula(cls) -> str:
        """How many parameters it adds or trains beside the head, as an expression or in words; empty where unsaid."""
        return ""

    @classmethod
    def describe(cls) -> DescribedMethod:
        """Name, summary, source and options with their defaults."""
        options = [
            DescribedOption(
                name=name,
                default=list(default) if isinstance(default := field.default, tuple) else default,
                description=field.description or "",
            )
            for name, field in cls.model_fields.items()
            if name not in ("method", "name") and (name != "quantization" or cls.backbone_bits)
        ]
        return DescribedMethod(
            method=cls.model_fields["method"].default,
            title=cls.title,
            idea=cls.idea(),
            summary=cls.summary,
            formula=cls.formula(),
            mergeable=cls.mergeable,
            packs=not cls.fitted,
            quantizations=cls.quantizations(),
            reference=cls.reference,
            shortfall=cls.shortfall,
            starting_rate=cls.starting_rate,
            options=tuple(options),
        )

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        """Returns the model to train, with `requires_grad` set on exactly what this method trains.

        Args:
            loaded: the pretrained model and the names of its freshly initialised head modules.
                It is changed in place.

        Raises:
            UserError: where an option does not fit this model.
        """
        raise NotImplementedError

    def start(self, model: nn.Module, batches: Sequence[dict[str, torch.Tensor]]) -> None:
        """Called once before the first step, and again where a run goes on, of a method that `reads_texts`.

        Args:
            model: what `adapt` returned; it may be changed.
            batches: of padded training texts, drawn by the run's seed: what the model takes by name.
        """
        raise NotImplementedError

    @property
    def virtual_tokens(self) -> int:
        """Tokens that it puts into each text; their ids are those behind the rows of the model's embeddings."""
        return 0

    @property
    def takes_part_in_steps(self) -> bool:
        """Whether it has a hook in the training steps, which are then no CUDA graph."""
        return type(self).after_step is not ArmSpec.after_step or type(self).penalty is not ArmSpec.penalty

    def rate_factors(self, model: nn.Module) -> dict[str, float]:
        """Parameters that are not trained at the arm's learning rate, by name, and at how many times that rate.

        Args:
            model: what `adapt` returned, on the run's device.
        """
        del model
        return {}

    def dtypes(self, model: nn.Module, precision: torch.dtype) -> dict[str, torch.dtype]:
        """Parameters that are not held in the run's precision, by name, and the type that they are held in.

        The modules that use them say what they compute in. Sharded weights are always computed in the run's precision.

        Args:
            model: what `adapt` returned, before it is laid out.
            precision: of the run.
        """
        del model, precision
        return {}

    def penalty(self, model: nn.Module) -> torch.Tensor | None:
        """What is added to a step's mean loss, beside that of the labels; a number of dimension 0, or None.

        Args:
            model: what `adapt` returned.
        """
        del model
        return None

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Called after each optimiser step, with the gradients of that step still in place, before clipping.

        What it keeps from one step to the next belongs in buffers of the model, which checkpoints hold. A method that
        has this hook is not trained as a CUDA graph. Weights that it writes must be held in float32 (`dtypes`): others
        are rounded from the masters of the optimiser at the next step.

        Args:
            model: what `adapt` returned.
            step: how many have been done, from 1.
            steps: how many the run has.
        """

    def weights_put_back(self, model: nn.Module) -> None:
        """Called at the end of a run whose weights and buffers are those of an earlier epoch again.

        A method that keeps anything else of its training, which its file is made from, brings that in line with them.

        Args:
            model: what `adapt` returned.
        """

    def fit(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of a method that is `fitted`, whose `adapt` returns a `MeanPooledClassifier`: the head's coefficients.

        Args:
            features: of the training texts, shape (texts, hidden).
            labels: class indices, shape (texts,).
            classes: how many there are; not each need have a text.

        Returns:
            Weights, shape (classes, hidden), and biases, shape (classes,).
        """
        raise NotImplementedError


METHODS: Registry[ArmSpec] = Registry("tuneoff.methods", "tuneoff.spec.arms.ArmSpec", "method")

"""Virtual tokens: what a method puts into every text, with embeddings of its own behind those of the vocabulary.

They are tokens like others to the model and to the tokenizer that is saved with it, so that a classifier reads the
token that it was made for, positions are counted as always, and plain transformers and peft compute the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

MARK = "<virtual>"
"""What a tokenizer's template calls all of them."""
SEPARATORS = {"BertProcessing": 1, "RobertaProcessing": 2}
"""How many separators these processors of tokenizers put between the two texts of a pair."""


@dataclass(frozen=True)
class VirtualTokens:
    """Tokens that a method puts into each text, whatever that says.

    Attributes:
        ids: of the tokens, beyond those of the tokenizer.
        place: how many tokens of a sequence stand before them.
    """

    ids: tuple[int, ...]
    place: int


NO_VIRTUAL_TOKENS = VirtualTokens((), 0)


def ids_behind(vocabulary: int, count: int) -> tuple[int, ...]:
    """The ids of virtual tokens, given the rows of a model's table of embeddings."""
    return tuple(range(vocabulary, vocabulary + count))


def place_in_texts(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens a tokenizer starts every text with: virtual ones stand behind these."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    template = _template(definition["post_processor"])
    if template is None:
        return 0
    pieces = template["single"][: _special_first(template["single"])]
    return sum(len(template["special_tokens"][piece["SpecialToken"]["id"]]["ids"]) for piece in pieces)


def put_into_texts(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> None:
    """Makes a tokenizer put virtual tokens where `place_in_texts` says, and count them as it cuts."""
    from tokenizers import Tokenizer

    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    mark = {"SpecialToken": {"id": MARK, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": index}} for index, name in enumerate("AB"))
    processor = definition["post_processor"]
    template = _template(processor)
    if template is None:
        added: dict[str, Any] = {"type": "TemplateProcessing", "single": [mark, first], "pair": [mark, first, second]}
        added["special_tokens"] = {}
        before = [] if processor is None else processor.get("processors", [processor])
        definition["post_processor"] = {"type": "Sequence", "processors": [*before, added]}
        template = added
    else:
        for pieces in (template["single"], template["pair"]):
            pieces.insert(_special_first(pieces), mark)
        definition["post_processor"] = _replaced(processor, template)
    names = [f"{MARK}{number}" for number in range(len(ids))]
    template["special_tokens"][MARK] = {"id": MARK, "ids": list(ids), "tokens": names}
    tokenizer.backend_tokenizer.post_processor = Tokenizer.from_str(json.dumps(definition)).post_processor
    for name in ("add_bos_token", "add_eos_token"):  # by which a tokenizer would write its template anew
        tokenizer.init_kwargs.pop(name, None)


def load_as_written(folder: Path) -> None:
    """Has a saved tokenizer loaded from its `tokenizer.json` alone.

    transformers' classes for BERT, RoBERTa and others write their template anew when they are loaded, and so leave out
    what was put into it.
    """
    path = folder / "tokenizer_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def are_put_in(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> bool:
    """Whether a tokenizer puts these virtual tokens into a text."""
    return set(ids) <= set(tokenizer("a").input_ids)


def _template(processor: dict[str, Any] | None) -> dict[str, Any] | None:
    """The template among a tokenizer's processors, whatever it is written as; None where there is none."""
    if processor is None:
        return None
    for one in processor.get("processors", [processor]):
        if one["type"] == "TemplateProcessing":
            return dict(one)
        if one["type"] in SEPARATORS:
            return _written_out(one)
    return None


def _replaced(processor: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    if processor["type"] != "Sequence":
        return template
    kinds = ("TemplateProcessing", *SEPARATORS)
    return {**processor, "processors": [template if one["type"] in kinds else one for one in processor["processors"]]}


def _written_out(processor: dict[str, Any]) -> dict[str, Any]:
    """BERT's and RoBERTa's own processors as a template."""
    is_bert = processor["type"] == "BertProcessing"
    special = {}
    for name in ("cls", "sep"):
        token, number = processor[name]
        special[name] = {"id": token, "ids": [number], "tokens": [token]}

    def mark(name: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": special[name]["id"], "type_id": type_id}}

    second_type = int(is_bert)
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": second_type}}
    between = [mark("sep", 0)] * SEPARATORS[processor["type"]]
    return {
        "type": "TemplateProcessing",
        "single": [mark("cls", 0), first, mark("sep", 0)],
        "pair": [mark("cls", 0), first, *between, second, mark("sep", second_type)],
        "special_tokens": {token["id"]: token for token in special.values()},
    }


def _special_first(pieces: list[dict[str, Any]]) -> int:
    """How many pieces of a template stand before the text."""
    return next(index for index, piece in enumerate(pieces) if "Sequence" in piece)

"""What a fine-tuning method is: its options, its default learning rate, and how it changes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class Frozen(BaseModel):
    """A validated, immutable record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Method(Frozen):
    """An arm of a study: one configured method.

    A subclass is one file in this package. It names the method, declares its options as fields
    with their published defaults, and implements `adapt`. Nothing else needs to be edited.
    """

    summary: ClassVar[str]
    """One line for `tuneoff methods`."""
    reference: ClassVar[str]
    """Where the method and its default learning rate come from."""
    quantised: ClassVar[bool] = False
    """Whether the backbone is loaded in 4 bits."""

    method: str
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._+=-]*$",
        max_length=60,
        description="name of the arm; the method's name when left out",
    )
    learning_rate: float = Field(gt=0, le=1000, description="peak learning rate")

    def model_post_init(self, _context: Any) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.method)

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """Name, summary, source and options with their defaults, as plain JSON."""
        options = [
            {
                "name": name,
                "default": list(default) if isinstance(default := field.default, tuple) else default,
                "description": field.description or "",
            }
            for name, field in cls.model_fields.items()
            if name not in ("method", "name")
        ]
        method = cls.model_fields["method"].default
        return {"method": method, "summary": cls.summary, "reference": cls.reference, "options": options}

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        """Returns the model to train, with `requires_grad` set on exactly what this method trains.

        Args:
            loaded: the pretrained model and the names of its freshly initialised head modules.
                It is changed in place.

        Raises:
            UserError: where an option does not fit this model.
        """
        raise NotImplementedError

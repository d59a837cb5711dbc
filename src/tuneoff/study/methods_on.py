"""What methods would train of a model, by its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping

from tuneoff.core.errors import UserError
from tuneoff.models.count import parameter_counts
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import load_config, outline, resolve_config
from tuneoff.records.described import MethodOnModel
from tuneoff.records.measurements import ParameterCounts
from tuneoff.spec.arms import ArmSpec


def methods_on(model: str, classes: int, methods: Mapping[str, type[ArmSpec]]) -> list[MethodOnModel]:
    """Counts the parameters of a model under methods with their default options, on the meta device.

    Args:
        model: a folder, `package:NAME` or Hub id.
        classes: how many labels there are.
        methods: by name.

    Raises:
        UserError: where there is no such model, or transformers has no classifier of its architecture.
    """
    folder = resolve_config(model)
    found = []
    for name, method in methods.items():
        loaded = outline(load_config(folder, classes, pad_token_id=0))
        try:
            with bitsandbytes_hidden():
                adapted = method.model_validate({"method": name}).adapt(loaded)
        except UserError as error:
            found.append(MethodOnModel(method=name, parameters=None, why_not=str(error)))
            continue
        counts = ParameterCounts(**parameter_counts(adapted, loaded))
        found.append(MethodOnModel(method=name, parameters=counts, why_not=None))
    return found

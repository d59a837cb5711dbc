"""What costs depend on beside the arm: they are compared, and averaged, only where it is alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tuneoff.records.run import Measured

ALONE = "shared device"
ONLY_OF_TIMES = (ALONE, "cores")
"""What memory does not depend on."""


def costs_key(run: Measured, same_arm: bool = False) -> dict[str, str]:
    """What a run's costs depend on beside its arm, by name, in words.

    Args:
        run: that came to its end.
        same_arm: whether it is compared with runs of its own arm, so that its engine counts. Those of two arms may
            differ, since a method decides by what engine it can be trained.
    """
    return run.conditions.costs_depend_on(same_arm)


def differences(several: Iterable[Mapping[str, str]], but: Sequence[str] = ()) -> list[str]:
    """In what conditions differ, in words: `device: NVIDIA H100 and NVIDIA A100`; nothing where they are alike.

    A package that not all of them have is no difference: it is one that only some methods need.

    Args:
        several: of `costs_key`.
        but: names that do not count.
    """
    several = list(several)
    found = []
    for name in dict.fromkeys(name for conditions in several for name in conditions if name not in but):
        absent = [] if name.startswith("versions.") else ["none"] * any(name not in one for one in several)
        values = dict.fromkeys([*(one[name] for one in several if name in one), *absent])
        if len(values) > 1:
            found.append(f"{name}: {' and '.join(values)}")
    return found

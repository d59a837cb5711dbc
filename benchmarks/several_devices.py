"""One run on several GPUs against one: examples a second and memory of each arm, in runs of a study.

    python benchmarks/several_devices.py STUDY --random-weights SHAPE --arms full lora --set training.batch_size=64 \
        --parallel none ddp fsdp --repeats 2

Runs of one seed and one epoch, each way in turns; what is left out of the time is what a run leaves out: set-up and
the capture of graphs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import tuneoff
from tuneoff.records.run import TrainedRun
from vs_trainer import with_random_weights


def main() -> None:
    """Runs, and prints a line for each arm and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--random-weights", type=Path, metavar="FOLDER")
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--parallel", nargs="+", default=("none", "ddp"))
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        overrides = [*arguments.set, "training.epochs=1", "keep_models=false"]
        if arguments.random_weights:
            overrides.append(f"model.id={with_random_weights(arguments.random_weights, scratch / 'model')}")
        for repeat in range(arguments.repeats):
            for parallel in arguments.parallel:
                spec = tuneoff.load_study(arguments.study, [*overrides, f"training.parallel={parallel}"])
                arms = tuple(arm for arm in spec.arms if not arguments.arms or arm.name in arguments.arms)
                spec = spec.model_copy(update={"arms": arms, "seeds": (repeat,)})
                for run in tuneoff.run_study(spec, scratch / f"{parallel}-{repeat}").runs:
                    if not isinstance(run, TrainedRun):
                        print(f"{run.arm}, {parallel}: {run.status}", flush=True)
                        continue
                    rates.setdefault((run.arm, parallel), []).append(run.train_examples_per_second)
                    engine = run.conditions.engine or {}
                    print(
                        f"{run.arm}, {parallel}, {run.conditions.devices} devices: {rates[run.arm, parallel][-1]:,.0f} "
                        f"examples/s, {run.peak_memory_bytes.train / 1e6:,.0f} MB each, {engine.get('batches')}, "
                        f"{engine.get('step')} {engine.get('why_no_graph', '')}",
                        flush=True,
                    )
    first = arguments.parallel[0]
    for (arm, parallel), found in rates.items():
        print(f"{arm}, {parallel}: {median(found) / median(rates[arm, first]):.2f} times {first}")


if __name__ == "__main__":
    main()

"""A study's time and memory as `tuneoff plan` foretells them, and as its runs then take them.

    python benchmarks/foretold.py benchmarks/imdb-minilm.toml --set model.id=… --set data.train=… --set data.test=…

Arms should have learning rates of their own: trials are not compared. Memory is foretold for a GPU alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import tuneoff
from tuneoff.records.run import TrainedRun
from tuneoff.study.memory import outline_memory
from tuneoff.study.probe import probe_study


def main() -> None:
    """Probes, runs, and prints a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    spec = tuneoff.load_study(arguments.study, arguments.set)
    probed = {arm.arm: arm for arm in probe_study(spec, print).arms}
    with tempfile.TemporaryDirectory() as scratch:
        runs = tuneoff.run_study(spec, Path(scratch) / "study").runs
    on_gpu = any(isinstance(run, TrainedRun) and run.memory_kind == "cuda_allocated" for run in runs)
    foretold = {arm.arm: arm for arm in outline_memory(spec, 80 * 10**9).arms} if on_gpu else {}
    of_time, of_memory = [], []
    for run in runs:
        if not isinstance(run, TrainedRun):
            print(f"{run.arm}, seed {run.seed}: {run.status}")
            continue
        line = f"{run.arm}, seed {run.seed}: {run.wall_seconds:.1f} s"
        if (seconds := probed[run.arm].run) is not None:
            of_time.append(seconds / run.wall_seconds - 1)
            line += f", foretold {seconds:.1f} ({of_time[-1]:+.1%})"
        measured = run.peak_memory_bytes.train
        line += f"; {measured / 1e6:,.0f} MB"
        if run.arm in foretold and (parts := foretold[run.arm].parts) is not None:
            of_memory.append(parts.allocated / measured - 1)
            line += f", foretold {parts.allocated / 1e6:,.0f} ({of_memory[-1]:+.1%})"
        print(line, flush=True)
    for what, off in (("time", of_time), ("memory", of_memory)):
        if off:
            print(f"{what}: off by {median(map(abs, off)):.1%} at the median, from {min(off):+.1%} to {max(off):+.1%}")


if __name__ == "__main__":
    main()

"""What a person sees in a terminal, real but for the person: pyte draws what a pseudo-terminal is sent."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import pyte
import pytest

import tuneoff as api
from commands import server_for, start_command
from conftest import Command, study_toml
from processes import wait_until
from stored import diverged_run, plan_entry, scored_run, unfinished_run
from tuneoff.records.state import RunState
from tuneoff.report.live import study_line
from tuneoff.report.tally import Tally
from tuneoff.report.words import verdict
from tuneoff.runs.progress import RunProgress
from tuneoff.study.ahead import Ahead

ROWS = 30
HEADINGS = "loss  examples/s"
RESULT = r"test accuracy \d+\.\d%, trained in .+, peak memory \d+ MB"


class Terminal:
    """A command in a terminal of its own, of so many columns; keeps every screen that a read has led to.

    What has scrolled off the top is on no later screen, and how much one read brings is chance: a test of all that
    is printed wants more rows than are printed.
    """

    def __init__(self, columns: int, *arguments: str | Path, rows: int = ROWS) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.screens: list[str] = []
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES"):  # which would hide the terminal's size
            environment.pop(name, None)
        self._end, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        server = server_for(str(arguments[0]))
        self._command = start_command(
            [*map(str, arguments)], Path.cwd(), environment, [terminal] * 3, server, session=True
        )
        os.close(terminal)

    def read_until(self, seen: Callable[[str], object]) -> str:
        """Shows what is printed until a screen is as wished, and returns it.

        Raises:
            EOFError: where the command ends before that.
        """
        while True:
            try:
                printed = os.read(self._end, 1 << 16)
            except OSError:  # Linux's way to say that the other end is closed
                printed = b""
            if not printed:
                raise EOFError(self.screens[-1])
            self._stream.feed(printed)
            self.screens.append("\n".join(line.rstrip() for line in self._screen.display))
            if seen(self.screens[-1]):
                return self.screens[-1]

    def end(self) -> int:
        """Shows the rest; returns the exit code."""
        with pytest.raises(EOFError):
            self.read_until(lambda _: False)
        os.close(self._end)
        return self._command.wait()

    def press_ctrl_c(self) -> None:
        os.write(self._end, b"\x03")

    @property
    def cursor_hidden(self) -> bool:
        return self._screen.cursor.hidden


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terminal") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full", "lora"], seeds=1, epochs=6))
    return path


@pytest.fixture(scope="module")
def watched(study: Path) -> tuple[Path, Terminal]:
    """A study's folder, and the terminal in which it was carried out."""
    out = study.parent / "out"
    terminal = Terminal(110, "run", study, "--out", out)
    assert terminal.end() == 0, terminal.screens[-1]
    return out, terminal


def matches(pattern: str, screen: str) -> bool:
    return re.search(pattern, screen, re.MULTILINE) is not None


def test_runs_are_shown_as_they_go_on_and_leave_a_line(watched: tuple[Path, Terminal]) -> None:
    out, terminal = watched
    for arm in ("full", "lora"):
        line = rf"^{arm}, seed 0  [━╸╺]+ +\d+/108  \d\.\d{{3}} +[\d,.]+  [\d,]+ MB  \d+:\d\d$"
        assert any(matches(line, screen) for screen in terminal.screens), terminal.screens
    assert any("2 runs: 0 done, 1 running, 0 failed, 1 left; about " in screen for screen in terminal.screens)
    assert any("2 runs: 1 done, 1 running, 0 failed, 0 left; about " in screen for screen in terminal.screens)
    assert max(screen.count(HEADINGS) for screen in terminal.screens) == 1
    last = terminal.screens[-1]
    for number, arm in enumerate(("full", "lora"), start=1):
        assert matches(rf"^\[{number}/2\] {arm}, seed 0: {RESULT}$", last), last
    assert HEADINGS not in last
    assert "2 runs:" not in last
    assert matches(r"^report +/", last)
    assert (out / "report.html").exists()
    assert not terminal.cursor_hidden


@pytest.mark.long
def test_a_narrow_terminal_another_one_and_ctrl_c(study: Path, tmp_path: Path, tuneoff: Command) -> None:
    out = tmp_path / "out"
    terminal = Terminal(60, "run", study, "--out", out, "--set", "training.epochs=5000")
    line = r"^full, seed 0 +\d+%  \d\.\d{3} +[\d,.]+  [\d,]+ MB +[\d:]+$"
    terminal.read_until(lambda screen: matches(line, screen))
    (progress,) = out.glob("runs/*/progress.json")
    wait_until(lambda: json.loads(progress.read_text())["examples_per_second"])  # it is written once a second
    shown = tuneoff("status", out).stdout
    assert matches(r"^full, seed 0 +[━╸╺ ]+ +[\d,]+/90,000  \d\.\d{3} +[\d,.]+  [\d,]+ MB +[\d:]+ *$", shown), shown
    assert "2 runs: 0 done, 1 running, 0 failed, 1 left; about " in shown
    run, waiting = json.loads(tuneoff("status", out, "--json").stdout)["runs"]
    assert run["loss"] > 0
    assert run["examples_per_second"] == pytest.approx(8 / run["seconds_per_step"], rel=0.99)
    assert run["memory_bytes"] > 1e8
    assert waiting["state"] == "left"

    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert max(screen.count(HEADINGS) for screen in terminal.screens) == 1
    last = terminal.screens[-1]
    assert "stopping after the step under way; Ctrl-C again stops at" in last
    assert "[1/2] full, seed 0: interrupted: stopped on request; it" in last
    assert "tuneoff: interrupted; the same command goes on from here" in last
    assert HEADINGS not in last
    assert not terminal.cursor_hidden


@pytest.mark.long
def test_elsewhere_there_are_plain_lines(watched: tuple[Path, Terminal], study: Path, tuneoff: Command) -> None:
    out, _ = watched
    lines = tuneoff("run", study, "--out", out, "--set", "seeds=2", FORCE_COLOR="1").stdout.splitlines()
    start = lines.index("2 of 4 runs to train, 216 steps")
    assert matches(rf"^\[3/4\] full, seed 1: {RESULT}$", lines[start + 1])
    assert matches(rf"^\[4/4\] lora, seed 1: {RESULT}$", lines[start + 2])
    assert "\x1b[?25" not in "".join(lines)
    done = tuneoff("run", study, "--out", out, "--set", "seeds=2")
    assert "All 4 runs are done already; nothing to train." in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", [40, 63, 80, 110])
def test_sentences_are_broken_between_words_and_nothing_is_cut(watched: tuple[Path, Terminal], columns: int) -> None:
    out, _ = watched
    results = api.load_results(out)
    for command, *options in (("report", "--format", "csv"), ("recommend",)):
        terminal = Terminal(columns, command, out, *options, rows=10 * ROWS)
        assert terminal.end() == 0
        shown = terminal.screens[-1]
        words = verdict(results.summary).split()
        lines = [line for line in shown.splitlines() if line.strip()]
        said = " ".join(lines).split()
        begin = said.index(words[0])
        assert said[begin : begin + len(words)] == words
        assert max(map(len, lines)) <= columns
        assert "…" not in shown
        if command == "report":
            for arm in results.summary.scored_arms:
                assert matches(rf"^ +{arm.arm} .*{100 * arm.test_score.mean:.1f}%", shown), shown


def test_a_plan_fits_where_there_is_little_room(study: Path) -> None:
    terminal = Terminal(46, "plan", study)
    assert terminal.end() == 0
    last = terminal.screens[-1]
    assert "…" not in last
    assert matches(r"^ +lora +lora +0\.0\d+", last), last


def test_hardly_any_time_left_is_not_counted() -> None:
    for done, end in ((100, "; almost done"), (99, "; almost done"), (90, "; about 5.0 s left")):
        running = RunState(plan_entry(steps=100), RunProgress(done, seconds_per_step=0.5).entry(100))
        assert study_line(Tally.of([running]), Ahead()).endswith(end)


def test_what_is_counted_adds_up_and_a_run_that_goes_on_again_has_no_result_yet() -> None:
    entry, trial = plan_entry(steps=25), plan_entry(steps=25, trial=True)
    progress = RunProgress(5).entry(25)
    states = [
        RunState(entry),
        RunState(entry, progress, unfinished_run("interrupted")),
        RunState(entry, result=unfinished_run("interrupted")),
        RunState(entry, result=unfinished_run("oom")),
        RunState(entry, result=diverged_run(1.0, 9.0)),
        RunState(trial, result=diverged_run(1.0, 9.0)),
        RunState(entry, result=scored_run()),
    ]
    tally = Tally.of(states)
    assert (tally.runs, tally.trials, tally.ok, tally.diverged_trials) == (7, 1, 1, 1)
    assert (tally.left, tally.steps_left, tally.running, tally.failed) == (2, 50, (progress,), 2)
    line = "1 trial and 6 runs: 2 done (1 trial diverged), 1 running, 2 failed, 2 left; about "
    # Two wait and one has 4/5 before it: 25 steps of 1 s altogether, and 2 s beside them.
    assert study_line(tally, Ahead()) == f"{line}{2.8 * 3:.1f} s left"


@pytest.mark.long
def test_quiet_prints_nothing(watched: tuple[Path, Terminal], study: Path, tmp_path: Path, tuneoff: Command) -> None:
    out, _ = watched
    answer = tuneoff("run", study, "--out", tmp_path / "quiet", "--quiet", "--set", "training.epochs=1")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert len(list(tmp_path.glob("quiet/runs/*/result.json"))) == 2
    again = tuneoff("retry", out, "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    refused = tuneoff("run", study, "--quiet", "--set", "training.epochs=0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("tuneoff: ")

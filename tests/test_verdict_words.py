"""What is said of made-up studies: never against the intervals, never of an arm that is left out, always an answer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from made_up import arm_entries, learning
from tuneoff.analysis.against_baselines import against_baseline
from tuneoff.analysis.comparisons import compare_arms, compare_pairs
from tuneoff.analysis.costs import PREFERENCES
from tuneoff.analysis.fitness import unfit_arms
from tuneoff.analysis.headlines import baseline_headlines
from tuneoff.analysis.reach import margin_in_reach
from tuneoff.analysis.recommendation import recommend
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.records.recommendation import Excluded, Limits, Preference
from tuneoff.records.summary import Summary
from tuneoff.report import evidence, words

NO_LIMITS = Limits()
NO_ANSWER: dict[str, Any] = {
    "arm": None, "choose_now": None, "best": None, "ties_with_best": [], "margin": 0.01, "prefer": "memory",
    "limits": NO_LIMITS.model_dump(), "reason": "", "more_seeds": None, "test_examples": None, "times": None,
    "shown": [], "excluded": [], "headlines": [],
}  # fmt: skip
NOTHING_FOUND: dict[str, Any] = {
    "study": "made up", "model": "tiny", "objective": "accuracy", "metric": "accuracy", "seeds": [0],
    "runs": {"planned": 6, "done": 6, "failed": 0},
    "data": {"source": "files", "sizes": {}, "folds": None, "task": "single_label", "label_kind": "class",
             "label_names": [], "cut_texts": {}, "removed": {}},
    "arms": [], "baselines": [], "headlines": [], "comparisons": [], "pareto": {}, "notes": [], "audit": [],
    "learning_curves": None, "tuning": None, "breakdown": None, "label_check": None,
}  # fmt: skip
"""A summary but for its recommendation."""
GUESSING = learning("not learned", "its training loss stayed at that of guessing.")


def _tables(draw: np.random.Generator, seeds: list[int], examples: int, lead: float) -> list[NDArray[np.float64]]:
    """Arms of any likeness, from the same everywhere to apart by far, whose seeds have any luck."""
    taste, luck, noise = draw.choice([0.0, 0.2, 1.0], 3)
    difficulty = draw.normal(0, 1, examples)
    return [
        (
            difficulty
            + taste * draw.normal(size=examples)
            + luck * draw.normal(size=(count, 1))
            + noise * draw.normal(size=(count, examples))
            + lead * place
            > -1.0
        ).astype(np.float64)
        for place, count in enumerate(seeds)
    ]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seeds=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    examples=st.sampled_from([3, 40, 296, 700]),
    lead=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    margin=st.sampled_from([0.002, 0.01, 0.05, 0.3]),
    prefer=st.sampled_from(sorted(PREFERENCES)),
    min_accuracy=st.sampled_from([None, None, 0.8]),
    unlearned=st.sets(st.integers(0, 4), max_size=3),
    number=st.integers(0, 2**32),
)
def test_words_never_contradict_intervals_and_there_is_always_an_answer(
    seeds: list[int],
    examples: int,
    lead: float,
    margin: float,
    prefer: Preference,
    min_accuracy: float | None,
    unlearned: set[int],
    number: int,
) -> None:
    draw = np.random.default_rng(number)
    tables = _tables(draw, seeds, examples, lead)
    names = "abcde"[: len(seeds)]
    shared = (draw.random(len(seeds)) < 0.2).tolist()
    numbers = [sorted(draw.permutation(5)[:count].tolist()) for count in seeds]
    not_learned = {names[arm] for arm in unlearned if arm < len(names)}
    arms = arm_entries(tables, names, seeds=numbers, idle=sorted(not_learned), shared=shared)
    compared = compare_arms(arms, {arm.arm: rows for arm, rows in zip(arms, tables, strict=True)})

    for pair in compare_pairs(compared, margin):
        if pair.not_learned:
            continue
        said, seen = evidence.pair(pair), pair.difference
        assert 0 <= seen.mean <= seen.ci_high
        holds_zero = seen.ci_low <= 0 <= seen.ci_high
        within = -margin < seen.ci_low and seen.ci_high < margin
        assert not {pair.a, pair.b} & not_learned
        claims = ("tied", "not told apart", "is more accurate", "is ahead", "not ranked")
        (claim,) = (words for words in claims if words in said)
        assert (claim == "not ranked") == (pair.seeds == 1)
        if claim == "tied":
            assert holds_zero
            assert within
        if claim == "not told apart":
            assert holds_zero
            assert not within
        if claim in ("is more accurate", "is ahead"):
            assert not holds_zero
        if "may lose up to" in said:
            lost = float(re.findall(r"may lose up to ([\d.]+) points", said)[0])
            assert lost >= round(-100 * seen.mean, 1)
        if "is shown to lose less" in said:
            assert pair.non_inferiority is not None
            assert pair.non_inferiority.b.lower_bound > -margin

    unfit = unfit_arms(arms, [])
    answer = recommend(arms, compared, margin, prefer, Limits(min_accuracy=min_accuracy), unfit)
    left_out = {entry.arm for entry in answer.excluded}
    now = answer.choose_now
    named = answer.arm or (now and now.arm)
    text = words.answer(answer)
    assert text.endswith(".")
    assert ".." not in text
    assert named not in left_out
    assert not not_learned & {named, *answer.shown}
    assert (answer.arm is None) or (now is None)
    if named is None:
        assert re.match(r"No recommendation\. (No |Only |The only arm within)", text)
        assert text.count(". ") < 3
    else:
        first = text.split(". ")[0]
        assert re.search(rf"\b{named}\b", first)
        assert re.match(r"Use [a-e]: [^A-Z]|.*; if you must choose now, take [a-e]$", first)
        assert len(first) < 150
        sentences = text.removesuffix(".").split(". ")
        assert len(sentences) <= 3
        assert not re.search(r"\b[Ii]t\b", text)
        # What an arm may lose is said once.
        assert len(re.findall(r"lose less than [\d.]+ points? of accuracy", text)) <= 1
    scored = [arm for arm in arms if isinstance(arm, ScoredArm)]
    means = {arm.arm: arm.test_score.mean for arm in scored if arm.arm not in left_out}
    if now is not None and now.at_worst is not None:
        assert 0 <= now.at_worst <= 1
        assert f"at most {100 * now.at_worst:.1f} points" in text
        if len({arm.seeds for arm in arms}) == 1 and min_accuracy is None:
            assert now.at_worst >= max(means.values()) - means[now.arm] - 1e-9
    assert ("no worst loss can be stated" in text) == (now is not None and now.at_worst is None)


def _said(correct: list[NDArray[np.float64]], **given: Any) -> str:
    arms = arm_entries(correct, "abcdefgh"[: len(correct)])
    compared = compare_arms(arms, {arm.arm: rows for arm, rows in zip(arms, correct, strict=True)})
    answer = recommend(arms, compared, given.get("margin", 0.01), "memory", NO_LIMITS, given.get("unfit", {}))
    return words.answer(answer)


def _wrong_on(counts: list[int], seeds: int, examples: int) -> list[NDArray[np.float64]]:
    """Arms that are wrong on so many examples of their own, with every seed, and on ten that no arm gets right."""
    tables = []
    for place, count in enumerate(counts):
        rows = np.ones((seeds, examples))
        rows[:, :10] = 0
        rows[:, 10 + 40 * place : 10 + 40 * place + count] = 0
        tables.append(rows)
    return tables


def test_arms_that_agree_nearly_everywhere_on_few_examples_say_how_many_it_takes() -> None:
    said = _said(_wrong_on([1, 1, 1], 3, 300))
    assert said.startswith("No clear winner yet; if you must choose now, take a. ")
    assert re.search(r"an arm loses less than 1 point would take about \d+ test examples \(300 now\)", said)


def test_an_arm_clearly_ahead_is_recommended_on_few_examples() -> None:
    assert _said(_wrong_on([30, 30, 30, 30, 0], 2, 250)).startswith("Use e: every other arm is less accurate")


def test_with_two_seeds_a_third_is_said_to_help_and_with_one_no_worst_loss_is_stated() -> None:
    draw = np.random.default_rng(3)
    noisy = [(draw.normal(size=1000) + 0.3 * draw.normal(size=(2, 1)) > -1).astype(float) for _ in range(3)]
    two = _said(noisy)
    assert "loses at most" in two
    ((at_worst, then),) = re.findall(r"at most ([\d.]+) points \(95%; about ([\d.]+) points with a third seed\)", two)
    assert float(then) < 0.6 * float(at_worst)
    assert re.search(r"Such a choice was wrong in \d+( to \d+)?%", two)
    one = _said([rows[:1] for rows in noisy])
    assert one.startswith("One seed never ranks methods; if you must choose now, take ")
    assert "By one run each" in one
    assert "no worst loss can be stated" in one
    assert "simulated" not in one
    assert "wrong in" not in _said(noisy, margin=0.02)


def test_arms_that_did_not_learn_are_neither_named_nor_compared_with() -> None:
    tables = _wrong_on([0, 150, 160], 3, 400)
    arms = arm_entries(tables, "abc", idle="bc")
    compared = compare_arms(arms, {arm.arm: rows for arm, rows in zip(arms, tables, strict=True)})
    one_left = recommend(arms, compared, 0.01, "memory", NO_LIMITS, unfit_arms(arms, []))
    assert words.answer(one_left) == "Use a: no other arm learned this task."
    assert one_left.excluded == tuple(Excluded(arm=arm, why=GUESSING.sentence.rstrip(".")) for arm in "bc")
    arms[0] = arms[0].model_copy(update={"learning": learning("diverged", "a diverged.")})
    none = words.answer(recommend(arms, compared, 0.01, "memory", NO_LIMITS, unfit_arms(arms, [])))
    assert none == "No recommendation. No arm learned this task, so none can be named."
    assert "data" not in none


@pytest.mark.parametrize(("arms", "least"), [(2, 268), (4, 449), (8, 595)])
def test_before_training_it_is_known_whether_the_margin_is_in_reach(arms: int, least: int) -> None:
    enough, few = (margin_in_reach(0.01, arms, 3, examples) for examples in (least, least - 1))
    assert (enough.in_reach, enough.sentence) == (True, None)
    assert not few.in_reach
    assert f"at least {least:,}, or analysis.margin = 0.011 or more" in (few.sentence or "")
    for wrong_on, examples, found in ((0, least, "Use a: "), (0, least - 1, "No clear winner yet")):
        assert _said([np.ones((3, examples)) - wrong_on] * arms).startswith(found)
    of_r2 = margin_in_reach(0.01, arms, 3, least, unit=4.0, metric="R²")
    assert f"less than 1 point of R², unless it is ahead: that takes about {of_r2.least_test_examples:,}, or" in str(
        of_r2
    )
    assert of_r2.least_test_examples is not None
    assert of_r2.least_test_examples > 4 * least
    assert "one seed never ranks" in (margin_in_reach(0.01, arms, 1, 5000).sentence or "")
    assert "add another" in (margin_in_reach(0.01, 1, 3, 5000).sentence or "")


def _right(count: int, seeds: int = 3) -> NDArray[np.float64]:
    """Right on the first so many of 400 examples."""
    return np.broadcast_to((np.arange(400) < count).astype(np.float64), (seeds, 400)).copy()


def _verdict(named: str | None, baselines: dict[str, int], left: dict[str, int], which: str = "") -> str:
    """What is said of arms and baselines that are right on so many of 400 examples."""
    arms = arm_entries([_right(count) for count in left.values()], "".join(left))
    correct = {arm: _right(count) for arm, count in left.items()}
    against = {name: against_baseline(arms, correct, _right(count)[0] > 0) for name, count in baselines.items()}
    labels = {"majority": "majority class", "tfidf": "TF-IDF + logistic regression"}
    answer = {**NO_ANSWER, "arm": named, "reason": "Only a is good enough."}
    answer["headlines"] = [line.model_dump() for line in baseline_headlines(labels, against, which)]
    return words.verdict(Summary.model_validate({**NOTHING_FOUND, "recommendation": answer}))


def test_baselines_are_named_in_plain_words_and_by_the_arms_that_are_left() -> None:
    beaten = {"majority": 200, "tfidf": 300}
    assert _verdict("a", beaten, {"a": 390, "b": 301}) == "Use a: only a is good enough."
    said = _verdict("b", beaten, {"a": 390, "b": 301})
    assert said.endswith("good enough. a is shown to be more accurate than TF-IDF + logistic regression, b is not.")
    limited = _verdict("b", beaten, {"b": 301, "c": 299}, " within the limits")
    assert (
        "No arm within the limits is shown to be more accurate than TF-IDF + logistic regression (the best, b: +0."
        in (limited)
    )
    assert _verdict("b", beaten, {"b": 301}).split(". ")[1].startswith("b is not shown to be more accurate than TF-IDF")
    better = _verdict("b", {"majority": 100, "tfidf": 390}, {"b": 301, "c": 299})
    assert better.startswith(
        "Use TF-IDF + logistic regression, or train for longer. Every arm is less accurate than TF-"
    )
    assert "Of the arms, use b: only a" in better
    none = _verdict(None, {"majority": 300}, {"b": 299, "c": 298})
    assert "majority" not in none
    (line,) = baseline_headlines(
        {"majority": "majority class"},
        {"majority": against_baseline(arm_entries([_right(390)], "a"), {"a": _right(390)}, _right(200)[0] > 0)},
    )
    assert (line.verdict, line.beaten_by) == ("beaten", ("a",))
    assert line.sentence.startswith("a is more accurate than the majority class (+47.5 points, ")

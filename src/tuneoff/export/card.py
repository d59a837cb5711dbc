"""The model card of an exported model: what it is, how well it does and how that is known, and what it cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.analysis.underfitting import never_answered
from tuneoff.analysis.wording import ACCURACY
from tuneoff.core.files import write_text
from tuneoff.core.long_texts import WORDS, LongTexts
from tuneoff.core.texts import counted, printable
from tuneoff.data.audit.noticed import listed
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import part_words
from tuneoff.data.prepared import load_targets, load_tokens
from tuneoff.data.sources.hub import HubData
from tuneoff.export.card_training import how_it_was_trained
from tuneoff.models.recipe import BASE, loading_lines
from tuneoff.models.save import answer_note, kind_of_labels, number_note, title_of
from tuneoff.records.refit import ScoresOnTest
from tuneoff.records.saved_model import REFIT_WORDS, TextRules
from tuneoff.report import audit, evidence, words
from tuneoff.study.store import Store

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelCardData

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.refit import Refit
    from tuneoff.records.run import ScoredRun
    from tuneoff.records.saved_model import SavedModel
    from tuneoff.spec.arms import ArmSpec

CARD = "README.md"
LONGEST_NAME = 200
"""Characters of a class's name."""
MEMORY = {"process_rss": "resident memory of the whole process", "cuda_allocated": "what was allocated on the GPU"}


METRICS: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "accuracy": ("accuracy", "Accuracy", None),
    "micro_f1": ("f1", "Micro F1", {"average": "micro"}),
    "macro_f1": ("f1", "Macro F1", {"average": "macro"}),
    "r2": ("r_squared", "R²", None),
    "pearson": ("pearsonr", "Pearson's correlation", None),
    "spearman": ("spearmanr", "Spearman's correlation", None),
    "mae": ("mae", "Mean absolute error", None),
}
"""What the Hub calls scores, by our names."""


def write_card(
    folder: Path,
    results: StudyResults,
    run: ScoredRun,
    saved: SavedModel,
    refit: Refit | None = None,
    repo_id: str | None = None,
) -> None:
    """Writes the model card, `README.md`, into an exported model's folder.

    It names no file of this machine and shows no text of the data.

    Args:
        folder: of the exported model.
        results: of the study.
        run: that it comes from, one of those that its arm's accuracy stands on.
        saved: what the folder holds, and how that was checked.
        refit: what it came to, where the run was trained once more.
        repo_id: of the repository on the Hub that it goes to.
    """
    write_text(folder / CARD, str(model_card(results, run, saved, refit, repo_id)))


def model_card(
    results: StudyResults,
    run: ScoredRun,
    saved: SavedModel,
    refit: Refit | None = None,
    repo_id: str | None = None,
) -> ModelCard:
    """The model card; arguments as for `write_card`."""
    import jinja2
    from huggingface_hub import ModelCard

    summary = results.summary.model_copy(update={"money": None})  # which is for who paid it
    (arm,) = [arm for arm in results.spec.arms if arm.name == run.arm]
    (scored,) = [scored for scored in summary.scored_arms if scored.arm == run.arm]
    tested = _of_the_run(results, run) if refit is None else refit.test
    if tested is not None:
        tested = _as_exported(saved) or tested
    meaningless = bool(words.accepted_errors(summary))
    shown = [finding.model_copy(update={"examples": ()}) for finding in summary.audit]
    counts = _class_counts(results, run.part)
    loader = jinja2.PackageLoader("tuneoff.export")
    template = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    body = template.get_template("card.md").render(
        title=audit.plain(title_of(saved)),
        what=_what(saved, arm),
        tested=_tested(results, scored, run, refit, tested),
        place=_place(repo_id),
        lines=loading_lines(saved, "."),
        base_note=_base_note(saved),
        source=_source(results, run),
        splits=SPLITS,
        gives={"class": "class", "labels": "label", "number": "number"}[kind_of_labels(saved)],
        classes=[
            (audit.plain(printable(name, LONGEST_NAME)), *(f"{counts[split][index]:,}" for split in SPLITS))
            for index, name in enumerate(saved.texts.label_names)
        ]
        + [("**all examples**", *(f"**{counts[split][-1]:,}**" for split in SPLITS))],
        data_notes=_data_notes(results, saved.texts.long_texts),
        method=how_it_was_trained(results, scored, arm, run, saved, refit),
        verdict=f"**{audit.plain(words.verdict(summary))}**",
        headings=words.headings(summary),
        arms=[tuple(map(audit.plain, row)) for row in words.rows(summary)],
        marks=[audit.plain(line) for line in words.below_table(summary)],
        intervals=evidence.INTERVALS,
        memory=MEMORY[scored.memory_kind],
        learned=_learned(results, scored),
        counted=_capital(audit.counted(summary.audit)),
        audit=audit.markdown(shown),
        examples_left_out=any(finding.examples for finding in summary.audit),
        limits=_limits(results, run, scored, saved, refit),
    )
    data = _metadata(results, saved, None if meaningless else tested)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")


def _of_the_run(results: StudyResults, run: ScoredRun) -> ScoresOnTest:
    """What the run scored on its test split."""
    examples = results.prepared.part(run.part).sizes["test"]
    return ScoresOnTest(
        accuracy=run.test_accuracy, macro_f1=run.test_macro_f1, metrics=run.test_metrics, examples=examples
    )


def _as_exported(saved: SavedModel) -> ScoresOnTest | None:
    """What an export scores by itself, where some of its labels are not those of the trained model."""
    check = saved.check
    if check is None or not check.changed_labels or check.test_accuracy is None or check.test_macro_f1 is None:
        return None
    return ScoresOnTest(accuracy=check.test_accuracy, macro_f1=check.test_macro_f1, examples=check.texts)


def _class_counts(results: StudyResults, part: str) -> dict[str, list[int]]:
    """By split the examples of each class, or that have each label (all of them have a number), and then all."""
    folder, names = results.folder / "data", results.prepared.label_names
    tokens, table = load_tokens(folder, results.spec.data.long_texts, part), load_targets(folder)
    rules = TextRules(label_names=names, max_length=results.spec.data.max_length, scale=results.prepared.scale)
    task = results.task(rules, table)
    counts: dict[str, list[int]] = {}
    for split in SPLITS:
        codes = tokens[split].labels
        found = task.counts(task.truth(codes), len(names))
        counts[split] = [*([len(codes)] if found is None else found.tolist()), len(codes)]
    return counts


def _metadata(results: StudyResults, saved: SavedModel, tested: ScoresOnTest | None) -> ModelCardData:
    """What the Hub reads of a card: no licence and no language, since nobody has said them."""
    from huggingface_hub import EvalResult, ModelCardData

    data = results.spec.data
    of_hub = data if isinstance(data, HubData) else None
    on_hub: dict[str, Any] = {}
    if saved.base.revision is not None:
        relation = "adapter" if saved.kind in ("adapter", "bottleneck") else "finetune"
        on_hub = {"base_model": saved.base.id, "base_model_relation": relation}
    library = {"adapter": "peft", "whole": "transformers", "onnx": "onnx"}.get(saved.kind, "tuneoff")
    about: dict[str, Any] = {
        "task_type": "text-classification",
        "task_name": "Text regression" if kind_of_labels(saved) == "number" else "Text classification",
        "dataset_type": of_hub.id if of_hub else results.spec.name,
        "dataset_name": of_hub.id if of_hub else f"the data of the study {results.spec.name}",
        "dataset_config": of_hub.config if of_hub else None,
        "dataset_split": "test",
        "dataset_revision": of_hub.revision if of_hub else None,
    }
    scores = []
    if tested is not None:
        found = {"accuracy": tested.accuracy, "macro_f1": tested.macro_f1, **tested.metrics}
        scores = [
            EvalResult(**about, metric_type=kind, metric_name=title, metric_args=how, metric_value=round(value, 6))
            for name, (kind, title, how) in METRICS.items()
            if (value := found.get(name)) is not None
        ]
    return ModelCardData(
        **on_hub,
        library_name=library,
        pipeline_tag="text-classification",
        tags=["tuneoff", saved.method, *(["onnx"] if saved.kind == "onnx" else [])],
        datasets=[of_hub.id] if of_hub else None,
        model_name=f"{saved.study}-{saved.arm}" if scores else None,
        eval_results=scores or None,
    )


def _base(saved: SavedModel) -> str:
    """The base model, as text that does nothing in Markdown."""
    name = audit.plain(saved.base.id)
    if saved.base.revision is None:
        return name
    return f"[{name}](https://huggingface.co/{saved.base.id}) at commit {saved.base.revision[:12]}"


def _what(saved: SavedModel, arm: ArmSpec) -> str:
    texts = "pairs of texts" if saved.texts.text_pair is not None else "texts"
    names = saved.texts.label_names
    does = {
        "class": f"sorts {texts} into {len(names):,} classes",
        "labels": f"says which of {len(names):,} labels {texts} have",
        "number": f"predicts a number, {audit.plain(names[0])}, for {texts}",
    }[kind_of_labels(saved)]
    return (
        f"It {does}. It was made from {_base(saved)} by "
        f"{audit.plain(saved.method)} ({audit.plain(arm.summary.rstrip('.'))}), and is one of the models that a study "
        "with Tuneoff compared."
    )


def _tested(
    results: StudyResults, scored: ScoredArm, run: ScoredRun, refit: Refit | None, tested: ScoresOnTest | None
) -> str:
    """What is known of how well exactly this model does."""
    if words.accepted_errors(results.summary):
        return f"**{audit.plain(words.verdict(results.summary))}**"
    interval, metric = scored.test_score, results.objective.label
    trained = results.prepared.part(run.part).sizes["train"]
    estimate = (
        f"{_how_good(interval.mean, metric)}, {100 * interval.ci_low:.1f} to "
        f"{100 * interval.ci_high:.1f} (95%), over {counted(scored.runs, 'seed')}"
    )
    again = ""
    if refit is not None:
        again = (
            f"After the study it was trained once more on {REFIT_WORDS[refit.rows]} "
            f"({counted(sum(refit.examples.values()), 'example')}), with the settings and the learning rate of the "
            f"study's run, which was trained on {trained:,}."
        )
    if tested is None:
        return (
            f"**This very model was not tested.** {again} No labelled example was left to test it on. What is known is "
            f"how the study's runs of {audit.plain(run.arm)} did, which were trained on {trained:,} examples: "
            f"{estimate}. More examples usually help; whether they did here was not looked at."
        )
    on = f"{tested.examples:,} test examples that it was not trained on"
    if tested.accuracy is None or tested.macro_f1 is None:
        found = ", ".join(f"{METRICS[name][1]} {tested.metrics[name]:.4g}" for name in ("r2", "pearson", "mae"))
        mine = f"On {on} this very model has: **{found}**."
    else:
        labels = " about all labels" if results.task.kind == "labels" else ""
        mine = (
            f"This very model is right{labels} for **{words.percent(tested.accuracy)}** of {on} (macro F1 "
            f"{100 * tested.macro_f1:.1f})."
        )
    return f"{again} {mine} The study's estimate for {audit.plain(run.arm)} is {estimate}.".strip()


def _how_good(value: float, metric: str) -> str:
    """A mean of the objective, in the middle of a sentence."""
    if metric == ACCURACY:
        return f"{words.percent(value)} of test examples right"
    return f"{metric} {words.score(value, metric)} (times 100)"


def _place(repo_id: str | None) -> str:
    if repo_id is None:
        return "In the folder of this file:"
    return f"Fetch it with `hf download {repo_id} --local-dir .`; then, in that folder:"


def _base_note(saved: SavedModel) -> str:
    if not saved.needs_base or saved.base.revision is not None:
        return ""
    where = "which was a local folder" if saved.base.is_local else "which that Python package holds"
    return f"`{BASE}` is the folder of the base model, {_base(saved)}, {where}."


def _source(results: StudyResults, run: ScoredRun) -> str:
    data, folds = results.spec.data, results.spec.data.folds
    if isinstance(data, HubData):
        config = f", configuration {audit.plain(data.config)}" if data.config else ""
        at = f" at commit {data.revision[:12]}" if data.revision else ""
        source = f"[{audit.plain(data.id)}](https://huggingface.co/datasets/{data.id}){config}{at}."
    elif data.source == "files":
        source = "Files of whoever trained it, which are no part of this folder."
    else:
        source = f"{audit.plain(' '.join((type(data).__doc__ or data.source).split()))}"
    if folds is not None:
        return f"{source} Each example was tested in one of {folds} folds; this is {part_words(run.part)}."
    part = f" The study compared several training sizes; this is {part_words(run.part)}." if run.part else ""
    return f"{source}{part}"


def _data_notes(results: StudyResults, long_texts: LongTexts) -> list[str]:
    prepared, longest = results.prepared, results.spec.data.max_length
    cut = [f"{prepared.cut_texts[split]:,} of {split}" for split in SPLITS if prepared.cut_texts.get(split)]
    unread = f"; parts go unread of {listed(cut)}" if cut else "; no part of these goes unread"
    if long_texts != results.spec.data.long_texts:  # how much this arm leaves unread was not counted
        unread = ""
    return [
        f"Of texts {longest:,} tokens are read at once ({WORDS[long_texts]}){unread}.",
        *map(audit.plain, audit.left_out(prepared.removed)),
    ]


def _learned(results: StudyResults, scored: ScoredArm) -> str:
    sentences = words.did_not_learn(results.summary)
    if not sentences:
        known = all(arm.learning is not None for arm in results.summary.arms)
        every = "Every arm learned" if known else "Every arm that was trained learned"
        some = [
            f"{arm.arm} ({learning.not_learned} of {learning.runs} did not)"
            for arm in results.summary.arms
            if (learning := arm.learning) is not None and learning.not_learned
        ]
        return f"{every}{f', though not in every run: {listed(some)}' if some else ''}."
    mine = "It did." if scored.learned else "**It did not learn.**"
    return f"This one: {mine}\n\n" + "\n".join(f"- {audit.plain(sentence)}" for sentence in sentences)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _answers(saved: SavedModel, scored: ScoredArm) -> list[str]:
    """What it can answer at all, and how sure of it."""
    told = {
        "class": "It knows no class but those above, and gives one of them to every text.",
        "labels": "It knows no label but those above, and gives those that it holds for likely enough, or none.",
        "number": f"{number_note(saved.texts)} It gives every text a number.",
    }[kind_of_labels(saved)]
    decides = answer_note(saved.texts)
    if decides is not None:
        told = f"{told} {audit.plain(decides)}"
    before, after = scored.expected_calibration_error, scored.calibrated_error
    if before is None or after is None:
        return [told]
    of = "the study's runs of this arm, probabilities were off by"
    if saved.texts.temperature == 1.0:
        return [told, f"Its probabilities were not calibrated: of {of} {100 * before:.1f} points (on test)."]
    return [
        told,
        f"`tuneoff predict` divides logits by {saved.texts.temperature:.3g} before they become probabilities, a "
        f"temperature that was chosen on validation. Of {of} {100 * after:.1f} points so, and by {100 * before:.1f} "
        "without (expected calibration error on test).",
    ]


def _limits(
    results: StudyResults,
    run: ScoredRun,
    scored: ScoredArm,
    saved: SavedModel,
    refit: Refit | None,
) -> list[str]:
    lines = []
    if saved.check is not None and saved.check.changed_labels:
        lines.append(
            f"Of {saved.check.texts:,} test texts that it was compared on, {saved.check.changed_labels:,} have another "
            "label than the model had when it was trained."
        )
    if refit is not None and refit.test is None:
        lines.append("This very model was not tested; see above.")
    if saved.quantised:
        lines.append(
            f"It was trained upon its base model in {saved.quantization}, as `quantization_config.json` says, and "
            "computes as it was tested only there; upon the base model in full precision some answers differ."
        )
    lines += [
        f"It reads {saved.texts.max_length - saved.virtual_tokens:,} tokens of a text at once; "
        f"{WORDS[saved.texts.long_texts]}.",
        "It was tested on examples like those that it was trained on. How it does on texts of another kind, time or "
        "language is not known; nor was it looked at which languages the data is in.",
        *_answers(saved, scored),
        "Whether it treats groups of people alike was not tested.",
    ]
    never = never_answered(results, [Store(results.folder).predictions(run.run_id)]) if refit is None else None
    if never is not None:
        lines.insert(0, f"**It answered no test text with {audit.plain(never.classes)}.**")
    return [*lines, *(f"Of the study's arms: {audit.plain(note)}" for note in results.summary.notes)]

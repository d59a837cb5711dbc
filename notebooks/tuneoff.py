# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which fine-tuning method should I use?
#
# This notebook compares three ways to fine-tune a small sentence encoder on film reviews, asks which one to use, and
# tries it on a sentence. It needs no network and no GPU: `pip install 'tuneoff[quickstart,notebook]'` brings the model
# and the data. `tuneoff.ipynb` is made from `tuneoff.py`.

# %%
import altair

import tuneoff
from tuneoff.report.terminal import Progress

_ = altair.renderers.enable("svg")  # charts that need no network; leave this line out for charts that answer the mouse

# %% [markdown]
# ## A study
#
# A study is a model, a dataset, some arms and some seeds. Usually it is a TOML file that `load_study("study.toml")`
# reads. Here it is the shipped `quickstart`, cut down to two minutes or so. Every arm is trained on the same examples
# in the same order, each run in a process of its own.

# %%
study = tuneoff.load_study(
    "quickstart",
    [
        "name=notebook",
        "seeds=3",
        "data.train_size=400",
        "data.validation_size=60",
        "data.test_size=200",
        "data.max_length=64",
        "training.batch_size=8",
        "training.device=cpu",
        """arms=[
            {method="full", learning_rate=2e-4},
            {method="lora", learning_rate=5e-3},
            {method="ia3", learning_rate=5e-2},
        ]""",
    ],
)
with Progress() as progress:
    results = tuneoff.run_study(study, listener=progress)

# %% [markdown]
# Run the cell above again and nothing is trained: what is done is kept in `studies-out/notebook`.
#
# ## What came of it

# %%
results

# %% [markdown]
# With three seeds and 200 test examples the intervals are wide. That is what so small a study can say.

# %%
results.plot.accuracy()

# %%
results.plot.pareto("memory")

# %%
results.plot.training_time()

# %% [markdown]
# `results.to_pandas()` has one row a run, and `results.summary` everything that the reports show.

# %%
results.to_pandas()[["arm", "seed", "test_accuracy", "train_seconds", "parameters.trainable"]]

# %% [markdown]
# ## Which one?
#
# The recommendation is the cheapest arm that is shown to be no more than a margin less accurate than the best, or else
# the one to take if one must be taken now. What is cheap, and how much accuracy may be lost, is for you to say: in the
# study file under `[analysis]`, or afterwards.

# %%
from tuneoff.analysis.summary import recommend_anew
from tuneoff.report.words import answer
from tuneoff.spec import AnalysisSpec

for margin in (0.01, 0.05, 0.2):
    recommendation = recommend_anew(results, AnalysisSpec(margin=margin, prefer="time")).recommendation
    print(f"margin {margin}: {answer(recommendation)}")

# %% [markdown]
# ## Try it on a sentence
#
# Where no arm is shown to be good enough, the one to choose now is tried: its best run on validation.

# %%
named = recommendation if recommendation.arm else recommendation.choose_now
winner = (named and named.arm) or results.spec.arms[0].name

sentences = [
    "A warm, funny film that I will watch again.",
    "A boring film. The plot is a mess and the acting is terrible.",
]
print(winner)
for sentence, found in zip(sentences, results.load(winner).predict(sentences), strict=True):
    print(f"label {found.label} ({100 * found.probability:.0f}%): {sentence}")

# %% [markdown]
# Each run's folder `model` is what plain transformers and peft load as well, by the lines in its `README.md`.

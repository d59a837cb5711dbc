# make quickstart   installs tuneoff into .venv and runs the main job: methods compared on real weights, offline
# make test         installs the same with the test tools and runs the tests
# make lint         style and types
# make test-long    further tests that take long: Ray clusters, several processes, whole studies
# make test-wide    the same for more cases: every method saved and exported, kernels of many shapes, all of IMDb
# make test-matrix every method on every architecture, about 40 minutes; docs/compatibility.md says what works
# make soak         kills a study 100 times at random moments and compares what comes of it (about 20 minutes)
# make notebook     notebooks/tuneoff.ipynb anew from its source, notebooks/tuneoff.py
# make docs         docs/results-format.md and docs/schemas anew from tuneoff.records
# make screenshots  pictures of the quickstart's page for the README (needs Chromium)
# make test-gpu     the tests that need a CUDA device
# make test-lowest  a part of the tests with the lowest versions of all dependencies, in .venv-lowest

PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest
LOWEST := .venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt
EXTRAS := quickstart,hub,cluster,pdf,notebook,onnx,optuna,serve,wandb,tensorboard,mlflow,dev
# One test compares with what scikit-learn has only since 1.7: the Brier score of several classes.
LOWEST_CHOICE := not calibration_and_classes
# Two cores are busy with two workers: with three the same 379 tests took a seventh longer.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
LOWEST_TESTS := cli data dropout engines kernels methods packaging sources spec statistics study training

.PHONY: quickstart test test-long test-wide test-matrix test-lowest soak test-gpu lint notebook docs screenshots clean

quickstart: .venv/installed
	$(BIN)/tuneoff run quickstart

test: .venv/installed-dev
	$(PYTEST) -m "not gpu and not soak and not long and not wide and not matrix" $(WORKERS)

test-long: .venv/installed-dev
	$(PYTEST) -m "long and not gpu and not matrix" $(WORKERS)

test-wide: .venv/installed-dev
	$(PYTEST) -m "wide and not gpu" $(WORKERS)

test-matrix: .venv/installed-dev
	$(PYTEST) -m matrix -n 2

soak: .venv/installed-dev
	$(PYTEST) -m soak -s

test-gpu: .venv/installed-dev
	$(PYTEST) -m gpu

test-lowest:
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST) "$$(grep '^torch==' constraints-lowest.txt)"
	$(LOWEST) --editable ".[$(EXTRAS)]"
	.venv-lowest/bin/python -m pytest -m "not gpu and not soak and not long and not wide and not matrix" -k "$(LOWEST_CHOICE)" $(LOWEST_TESTS:%=tests/test_%.py)

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

notebook: .venv/installed-dev
	$(BIN)/jupytext --quiet --to ipynb --output notebooks/tuneoff.ipynb notebooks/tuneoff.py

docs: .venv/installed-dev
	$(BIN)/python tools/formats.py

screenshots: .venv/installed-dev
	$(BIN)/tuneoff run quickstart
	$(BIN)/python tools/screenshots.py studies-out/quickstart docs/images

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuneoff needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# torch comes first and by its exact version, so that no other package chooses a build of it.
.venv/torch: .venv/bin/python $(SOURCES)
	@echo "Installing into .venv (a few minutes the first time)"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

.venv/installed: .venv/torch
	@$(PIP) --editable ".[quickstart]"
	@touch $@

.venv/installed-dev: .venv/torch
	@$(PIP) --editable ".[$(EXTRAS)]"
	@touch $@ .venv/installed

clean:
	rm -rf .venv .venv-lowest studies-out

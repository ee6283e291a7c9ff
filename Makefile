PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TEST_STAMP := .venv/installed-for-tests

.PHONY: help run notebook test test-cluster lint bench bench-extraction bench-growth bench-scaling bench-collecting bench-damage bench-labeling bench-detecting bench-public-labels bench-real label detect clean
.DEFAULT_GOAL := help

help:  ## List these targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 21

$(STAMP): requirements.txt
	$(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv: 7 GB, a few minutes"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(TEST_STAMP): $(STAMP) requirements-dev.txt requirements-cluster.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

run: $(STAMP)  ## Run the experiment into runs/<name>/ (ARGS="--seeds 0 1 2")
	$(BIN)/python run_notebook.py $(ARGS)

notebook: $(STAMP)  ## Open the experiment in JupyterLab
	$(BIN)/jupyter lab main.ipynb

label: $(STAMP)  ## Label in the browser (ARGS="--match final.mp4")
	$(BIN)/python labeling.py $(ARGS)

detect: $(STAMP)  ## Find rallies (ARGS="final.mp4 --model best_model.pth")
	$(BIN)/python detecting_rallies.py $(ARGS)

lint: $(TEST_STAMP)  ## Check formatting, imports and the scripts of the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/tach check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/oxlint

test: lint  ## Lint, then run all tests but those of test-cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone and not cluster" $(ARGS)
	$(BIN)/python -m pytest -m alone $(ARGS) || [ $$? = 5 ]  # 5: ARGS leave none

test-cluster: $(TEST_STAMP)  ## Kill parts of a Ray cluster on this machine
	$(BIN)/python -m pytest -m cluster $(ARGS)

bench: $(STAMP)  ## Compare the experiment's speed with the study's method
	$(BIN)/python benchmarks/experiment.py $(ARGS)

bench-extraction: $(TEST_STAMP)  ## Time several ways to run the backbone
	$(BIN)/python benchmarks/extracting.py $(ARGS)

bench-growth: $(STAMP)  ## Measure time and memory, 100 to 100,000 sequences
	$(BIN)/python benchmarks/growth.py $(ARGS)

bench-scaling: $(TEST_STAMP)  ## Time one and two Ray workers
	$(BIN)/python benchmarks/scaling.py $(ARGS)

bench-collecting: $(STAMP)  ## Time collecting against seeking by frame number
	$(BIN)/python benchmarks/collecting.py $(ARGS)

bench-damage: $(STAMP)  ## Count exact and wrong sequences from damaged files
	$(BIN)/python benchmarks/damage.py $(ARGS)

bench-labeling: $(TEST_STAMP)  ## Time the labelling page in Chromium
	$(BIN)/python benchmarks/labeling.py $(ARGS)

bench-detecting: $(STAMP)  ## Measure detection on synthetic matches
	$(BIN)/python benchmarks/detecting.py $(ARGS)

bench-public-labels: $(STAMP)  ## Detect in films with real times (ARGS="--annotations DIR")
	$(BIN)/python benchmarks/public_labels.py $(ARGS)

bench-real: $(STAMP)  ## Measure detection on real clips (ARGS="--data FOLDER")
	$(BIN)/python benchmarks/real.py $(ARGS)

clean:  ## Remove .venv and caches; data and runs stay
	rm -rf .venv .pytest_cache .ruff_cache

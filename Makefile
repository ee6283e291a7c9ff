PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
TEST_STAMP := .venv/installed-for-tests

.PHONY: help run notebook test test-cluster lint bench bench-extraction bench-growth bench-scaling bench-collecting bench-damage bench-labeling bench-detecting label detect clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): requirements.txt
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(TEST_STAMP): $(STAMP) requirements-dev.txt requirements-cluster.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

run: $(STAMP)  ## Run the whole experiment into runs/<name>/ (ARGS="-p weights random --seeds 0 1 2")
	$(BIN)/python run_notebook.py $(ARGS)

notebook: $(STAMP)  ## Open the experiment in JupyterLab
	$(BIN)/jupyter lab main.ipynb

label: $(STAMP)  ## Label sequences in the browser (ARGS="--split test", "--match final.mp4")
	$(BIN)/python labeling.py $(ARGS)

detect: $(STAMP)  ## Find the rallies of whole matches (ARGS="final.mp4 --model runs/NAME/best_model.pth")
	$(BIN)/python detecting_rallies.py $(ARGS)

lint: $(TEST_STAMP)  ## Check the form of the code and of the pages' scripts, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/tach check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/oxlint

test: lint  ## Lint, then run every test but those of test-cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone and not cluster" $(ARGS)
	$(BIN)/python -m pytest -m alone $(ARGS) || [ $$? = 5 ]  # 5: ARGS leave none

test-cluster: $(TEST_STAMP)  ## Kill workers and nodes of a Ray cluster on this machine
	$(BIN)/python -m pytest -m cluster $(ARGS)

bench: $(STAMP)  ## Time the experiment against the original's way (ARGS="--sequences 8")
	$(BIN)/python benchmarks/experiment.py $(ARGS)

bench-extraction: $(TEST_STAMP)  ## Time every way to run the backbone (ARGS="--data Data/train")
	$(BIN)/python benchmarks/extracting.py $(ARGS)

bench-growth: $(STAMP)  ## Time and memory of 100 to 100,000 sequences (ARGS="--sizes 100 1000")
	$(BIN)/python benchmarks/growth.py $(ARGS)

bench-scaling: $(TEST_STAMP)  ## Time extraction on Ray by one and two workers (ARGS="--sequences 48")
	$(BIN)/python benchmarks/scaling.py $(ARGS)

bench-collecting: $(STAMP)  ## Time collecting against seeking by frame number (ARGS="--minutes 10")
	$(BIN)/python benchmarks/collecting.py $(ARGS)

bench-damage: $(STAMP)  ## Damage video files and see what becomes of their sequences (ARGS="--files 2")
	$(BIN)/python benchmarks/damage.py $(ARGS)

bench-labeling: $(TEST_STAMP)  ## Time the labelling page in Chromium (ARGS="--sequences 1000")
	$(BIN)/python benchmarks/labeling.py $(ARGS)

bench-detecting: $(STAMP)  ## Measure detection on drawn matches (ARGS="--work DIR --long-minutes 0")
	$(BIN)/python benchmarks/detecting.py $(ARGS)

clean:  ## Remove the environment and caches (data and runs stay)
	rm -rf .venv .pytest_cache .ruff_cache

# Every target creates .venv and installs mupi into it when needed.
PYTHON ?= python3
BIN := .venv/bin
# More threads than free cores are 3-10 times slower than one; override with THREADS=n.
THREADS ?= 1
export OMP_NUM_THREADS = $(THREADS)
export MKL_NUM_THREADS = $(THREADS)

# So tests take more cores by processes: one a core, up to four, since each has torch and data sets of its own in memory.
# Each begins with a stretch of files, so that fixtures of a file or a session are rarely made twice, and takes from
# others what is left at the end. WORKERS=0 is one process, for debuggers.
WORKERS ?= auto
PROCESSES = --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal

# CONSTRAINTS= takes the newest versions instead of those that were tested.
CONSTRAINTS ?= --constraint constraints.txt

.PHONY: env run test slow attack check docs bench dist

env: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(CONSTRAINTS) --editable '.[all,dev]'
	touch $@

run: env
	$(BIN)/mupi tour

test: env
	$(BIN)/pytest $(PROCESSES)

slow: env
	HYPOTHESIS_PROFILE=default $(BIN)/pytest -m slow $(PROCESSES)

# As users meet the library: without the shape checks of the other tests. In one process, which counts the outcomes.
attack: env
	HYPOTHESIS_PROFILE=default $(BIN)/pytest -o addopts='-ra --strict-markers' -m attack tests/attacks

check: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/pytest -q tests/test_layering.py

# The documentation, in site/. Tutorials are executed where they have changed: .cache/ keeps the others' outputs.
# MUPI_EXECUTE_TUTORIALS=false leaves outputs out, which takes seconds.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: env
	$(BIN)/python benchmarks/pi_layer.py

# What is published: an archive of the sources, and the wheel made of that.
dist: env
	$(BIN)/python -m build

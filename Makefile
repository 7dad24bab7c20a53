# Every target creates .venv and installs mupi into it when needed.
PYTHON ?= python3
BIN := .venv/bin
# More threads than free cores are 3-10 times slower than one; override with THREADS=n.
THREADS ?= 1
export OMP_NUM_THREADS = $(THREADS)
export MKL_NUM_THREADS = $(THREADS)

.PHONY: env run test slow attack check bench

env: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: env
	$(BIN)/mupi compare --dataset digits --overwrite

test: env
	$(BIN)/pytest

slow: env
	$(BIN)/pytest -m slow

# As users meet the library: without the shape checks of the other tests.
attack: env
	$(BIN)/pytest -o addopts='-ra --strict-markers' -m attack tests/attacks

check: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/pytest -q tests/test_layering.py

bench: env
	$(BIN)/python benchmarks/pi_layer.py

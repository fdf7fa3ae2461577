# Two commands for everybody: make demo, make test. Needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip is run from outside the environment and installed into it (data sets are fetched with it), so that python3-venv
# (ensurepip) is not needed on Debian
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check install --quiet --constraint constraints.txt
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test test-statistics check format benchmarks cluster docs clean

demo: $(VENV)/.installed
	$(BIN)/locard demo

test: $(VENV)/.installed-test
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not statistics" tests src

test-statistics: $(VENV)/.installed-test
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist load -m statistics tests

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy --strict

format: $(VENV)/.installed-test
	$(BIN)/ruff format src tests benchmarks examples
	$(BIN)/ruff check --fix src tests benchmarks examples

benchmarks: $(VENV)/.installed-test
	@failed=0; for script in benchmarks/*.py; do \
	  $(ONE_THREAD) $(BIN)/python $$script || failed=1; done; exit $$failed

# two audits on a Ray cluster of two machines (both this one), one of which is killed half way
cluster: $(VENV)/.installed-test
	$(ONE_THREAD) $(BIN)/python benchmarks/cluster/lost_machine.py

$(BIN)/python:
	$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) pip --editable .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) pip --editable '.[test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis locard-demo

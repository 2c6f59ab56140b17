# Each target makes .venv by itself, from the lock. Without the development tools: pip install .

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK_VENV := build/lock
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# TensorFlow's start-up notices would bury what the targets print.
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help:
	@echo "make demo   compare the searchers on a small data set, in under two minutes"
	@echo "make scale  four workers on one PostgreSQL study, one killed half-way (PostgreSQL: see README)"
	@echo "make test   run the tests and the notebooks"
	@echo "make lint   check style, formatting and types"
	@echo "make lock   bring requirements.lock up to pyproject.toml (UPGRADE=1: to the newest versions)"
	@echo "make clean  remove caches and builds (.venv stays)"

# setuptools is in the lock, so that building the editable package downloads nothing unlocked.
$(INSTALLED): requirements.lock pyproject.toml
	@echo "Installing the locked packages into $(VENV) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(INSTALLED)
	@$(BIN)/python studies/demo.py

# SCALE passes options on, such as SCALE="--storage postgresql+psycopg://... --kill-every 20".
.PHONY: scale
scale: $(INSTALLED)
	@$(BIN)/python studies/scale.py $(SCALE)

# Two workers share two cores: with TensorFlow's default of one thread for each core in every worker
# they would fight over them.
.PHONY: test
test: export TF_NUM_INTRAOP_THREADS := 1
test: export TF_NUM_INTEROP_THREADS := 1
test: export OMP_NUM_THREADS := 1
test: $(INSTALLED)
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist worksteal --nbmake tests $(NOTEBOOKS)

.PHONY: lint
lint: $(INSTALLED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: lock
lock:
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet uv
	@$(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-header --no-annotate $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml

.PHONY: clean
clean:
	@rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

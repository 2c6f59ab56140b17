# Each target makes .venv by itself, from the lock. Without the development tools: pip install .

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The oldest Optuna that is supported, beside the locked packages.
OLDEST := optuna==4.9.*
OLDEST_VENV := .venv-oldest
OLDEST_INSTALLED := $(OLDEST_VENV)/.installed
LOCK_VENV := build/lock
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# TensorFlow's start-up notices would bury what the targets print.
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help:
	@echo "make demo         compare the searchers on a small data set, in about a minute"
	@echo "make scale        four workers on one PostgreSQL study, one killed half-way (PostgreSQL: see README)"
	@echo "make test         run the tests and the first notebook"
	@echo "make test-slow    run the tests that are long by nature, and all notebooks"
	@echo "make test-oldest  test samplers, callbacks and resuming on the oldest supported Optuna"
	@echo "make lint         check style, formatting, types and which folder imports which"
	@echo "make lock         bring requirements.lock up to pyproject.toml (UPGRADE=1: to the newest versions)"
	@echo "make clean        remove caches and builds (.venv and .venv-oldest stay)"

# setuptools is in the lock, so that building the editable package downloads nothing unlocked.
define INSTALL
echo "Installing the locked packages into $(1) ..."
$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --quiet --require-hashes -r requirements.lock
$(1)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endef

$(INSTALLED): requirements.lock pyproject.toml
	@$(call INSTALL,$(VENV))
	@touch $@

$(OLDEST_INSTALLED): requirements.lock pyproject.toml Makefile
	@$(call INSTALL,$(OLDEST_VENV))
	@$(OLDEST_VENV)/bin/python -m pip install --quiet '$(OLDEST)'
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
test test-slow test-oldest: export TF_NUM_INTRAOP_THREADS := 1
test test-slow test-oldest: export TF_NUM_INTEROP_THREADS := 1
test test-slow test-oldest: export OMP_NUM_THREADS := 1
PYTEST := -m pytest --quiet --numprocesses 2 --dist worksteal

.PHONY: test
test: $(INSTALLED)
	@$(BIN)/python $(PYTEST) --nbmake -m 'not slow' tests notebooks/quickstart.ipynb

.PHONY: test-slow
test-slow: $(INSTALLED)
	@$(BIN)/python $(PYTEST) --nbmake -m slow tests
	@$(BIN)/python $(PYTEST) --nbmake $(NOTEBOOKS)

.PHONY: test-oldest
test-oldest: $(OLDEST_INSTALLED)
	@$(OLDEST_VENV)/bin/python $(PYTEST) -m 'not slow' \
		tests/samplers tests/test_callbacks.py tests/api/test_search.py

.PHONY: lint
lint: $(INSTALLED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

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
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

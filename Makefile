# Each target first installs the locked packages that it needs into .venv. Without make, use
# `pip install .`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# RUNS marks an environment with the packages of users, INSTALLED one with development tools.
RUNS := $(VENV)/.runs
INSTALLED := $(VENV)/.installed
UV := $(BIN)/uv
# LIGHT_VENV has no TensorFlow; OLDEST_VENV has the lowest versions that pyproject.toml allows.
LIGHT_VENV := .venv-light
LIGHT_INSTALLED := $(LIGHT_VENV)/.installed
OLDEST_VENV := .venv-oldest
OLDEST_INSTALLED := $(OLDEST_VENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# This hides TensorFlow's start-up notices, which are longer than the output of the targets.
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Bytecode must be written, or each process of the tests would compile TensorFlow's sources.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help:
	@echo "make demo         compare samplers on a small data set, in about two minutes"
	@echo "make scale        four workers on one PostgreSQL study, one killed half-way (PostgreSQL: see docs/guides/machines.md)"
	@echo "make test         run the tests"
	@echo "make test-slow    run the tests that are long by nature, and all notebooks"
	@echo "make test-slow-part  run a part of these, another one each day, for at most 4 minutes"
	@echo "make snapshots    renew what results say on each surface"
	@echo "make test-light   test samplers, callbacks, statistics and results without TensorFlow"
	@echo "make test-oldest  test samplers, callbacks and resuming on the lowest versions allowed"
	@echo "make docs         build the documentation, run its examples and check its links"
	@echo "make mutants      how many of 300 faults put into the code the tests notice; takes an hour"
	@echo "make optunahub    build the packages for OptunaHub, check them as its registry does, and test them"
	@echo "make package      build sdist and wheel into dist, and check them"
	@echo "make lint         check style, formatting, types (also as users see them) and which folder imports which"
	@echo "make lock         bring requirements.lock up to pyproject.toml (UPGRADE=1: to the newest versions)"
	@echo "make clean        remove caches and builds (.venv, .venv-light and .venv-oldest stay)"

# pip installs uv, and uv installs all other packages in a few seconds.
$(UV): requirements.lock
	@echo "Installing uv into $(VENV) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@mkdir -p build
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >build/uv.txt
	@$(BIN)/python -m pip install --quiet --require-hashes -r build/uv.txt
	@touch $@

# Install the package with the options $(1) of uv into the environment that holds the target.
# uv keeps the versions and hashes of requirements.lock, and refuses packages without a hash.
# The lock includes setuptools, so building the editable package downloads nothing else.
define INSTALL
@echo "Installing into $(@D) ..."
@mkdir -p build
@cp requirements.lock build/requirements.txt
@$(UV) pip compile --quiet --python $(BIN)/python --generate-hashes --no-header --no-annotate \
	$(1) --output-file build/requirements.txt pyproject.toml
@$(UV) pip install --quiet --python $(@D) --require-hashes -r build/requirements.txt
@$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
@touch $@
endef

$(RUNS): $(UV) pyproject.toml
	$(call INSTALL,--extra tensorflow)

$(INSTALLED): $(RUNS)
	$(call INSTALL,--extra dev)

$(LIGHT_INSTALLED): $(INSTALLED)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(LIGHT_VENV)
	$(call INSTALL,--extra test)

$(OLDEST_INSTALLED): $(INSTALLED)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(OLDEST_VENV)
	$(call INSTALL,--extra test --extra tensorflow --upgrade --resolution lowest-direct)

.PHONY: demo
demo: $(RUNS)
	@$(BIN)/python studies/demo.py

# SCALE holds options of the script, such as SCALE="--storage postgresql+psycopg://... --kill-every 20".
.PHONY: scale
scale: $(INSTALLED)
	@$(BIN)/python studies/scale.py $(SCALE)

# Two workers share two cores, so each may use one thread only; by default, TensorFlow would use
# one thread per core in every worker.
test test-slow test-slow-part test-light test-oldest mutants: export TF_NUM_INTRAOP_THREADS := 1
test test-slow test-slow-part test-light test-oldest mutants: export TF_NUM_INTEROP_THREADS := 1
test test-slow test-slow-part test-light test-oldest mutants: export OMP_NUM_THREADS := 1
PYTEST := -m pytest --quiet --numprocesses 2 --dist worksteal

.PHONY: test
test: $(INSTALLED)
	@$(BIN)/python $(PYTEST) -m 'not slow' tests

.PHONY: snapshots
snapshots: $(INSTALLED)
	@ADNN_RENEW_SNAPSHOTS=1 $(BIN)/python $(PYTEST) -m 'not slow' -k 'snapshot or surface' tests/results tests/contracts tests/experiments tests/cli

.PHONY: test-slow
test-slow: $(INSTALLED)
	@$(BIN)/python $(PYTEST) --nbmake -m slow tests
	@$(BIN)/python $(PYTEST) --nbmake $(NOTEBOOKS)

# The folder changes daily. If the time is up, the target succeeds: no test has failed until then.
SLOW_FOLDERS := api cli contracts engine networks results samplers stats
.PHONY: test-slow-part
test-slow-part: $(INSTALLED)
	@set -- $(SLOW_FOLDERS); shift $$(( $$(date +%-j) % $$# )); \
	echo "Slow tests of tests/$$1, at most 4 minutes:"; \
	timeout --signal=INT --kill-after=20 230 \
		$(BIN)/python $(PYTEST) --exitfirst -m slow "tests/$$1"; status=$$?; \
	case $$status in 124|137) echo "The time is up; all that ran has passed." ;; *) exit $$status ;; esac

.PHONY: test-light
test-light: $(LIGHT_INSTALLED)
	@$(LIGHT_VENV)/bin/python $(PYTEST) -m 'not slow' tests/samplers/test_optuna_suite.py \
		tests/stats tests/results tests/render tests/test_callbacks.py tests/test_imports.py tests/test_light_install.py \
		tests/test_portability.py tests/api/test_recheck.py tests/api/test_compare_values.py \
		tests/api/test_compare_functions.py

.PHONY: test-oldest
test-oldest: $(OLDEST_INSTALLED)
	@$(OLDEST_VENV)/bin/python $(PYTEST) -m 'not slow' \
		tests/samplers tests/test_callbacks.py tests/api/test_search.py

# Warnings are errors, and nothing is downloaded.
SPHINX := -m sphinx --quiet --fail-on-warning --keep-going --fresh-env --write-all

.PHONY: docs
docs: $(INSTALLED)
	@rm -rf build/docs
	@$(BIN)/python $(SPHINX) --builder html docs build/docs/html
	@$(BIN)/python docs/check_links.py build/docs/html
	@$(BIN)/python $(SPHINX) --builder doctest docs build/docs/doctest
	@echo "The documentation is in build/docs/html/index.html."

.PHONY: optunahub
optunahub: $(INSTALLED)
	@$(BIN)/python studies/optunahub/build.py

# Many mutants take hours. MUTANTS holds options of the script, such as MUTANTS="--number 1000 --seed 1".
.PHONY: mutants
mutants: $(INSTALLED)
	@$(BIN)/python tests/mutants.py $(MUTANTS)

# pyroma gives two of 10 points for the address and the URLs, which are added at publication.
.PHONY: package
package: $(INSTALLED)
	@rm -rf dist build/lib
	@mkdir -p build
	@$(BIN)/python -m build --no-isolation --outdir dist . >build/package.log
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/check-wheel-contents dist/*.whl
	@$(BIN)/pyroma --min 8 dist/*.tar.gz

.PHONY: lint
lint: $(INSTALLED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@mkdir -p build
	@PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes adnn_optuna --ignoreexternal >build/pyright.log \
		|| { grep --before-context=1 'error:' build/pyright.log; exit 1; }
	@$(BIN)/zizmor --offline --quiet .github/workflows

.PHONY: lock
lock:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-header --no-annotate $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml

.PHONY: clean
clean:
	@rm -rf build dist mutants *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

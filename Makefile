# maskwright: `make help` lists what this file can do.
# Both venvs-from-nothing commands, `make demo` and `make test`, share one environment, $(VENV), and install
# everything through constraints.txt. A stamp file per extra remembers what is installed.

PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# make check and make bench use an environment that is already active, else $(VENV).
RUN := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV)/bin,$(BIN))
# WORKERS=logical runs tests in as many processes as there are cores, up to four (each needs some 2 GB).
WORKERS ?= 0
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-quick clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

demo: $(VENV)/.installed-demo ## cut objects out of photographs and follow one through a film with the bundled model (makes its environment)
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-test ## format, lint, types, import direction and tests (makes its environment)
	@$(MAKE) --no-print-directory check VIRTUAL_ENV=

check: ## the same checks in the active environment
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --max-worker-restart 0 --dist loadfile $(ARGS)

bench: $(VENV)/.installed-test ## measure: start-up of the command line, latency beside other implementations
	@for script in $(filter-out benchmarks/bench_quick.py,$(wildcard benchmarks/bench_*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-quick: ## has anything become slower? ratios beside the stored ones, in a minute or two (ARGS=--update stores new ones)
	$(RUN)/python benchmarks/bench_quick.py $(ARGS)

clean: ## remove environments, caches and the demo's pictures
	rm -rf $(VENV) demo-output dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "maskwright needs Python 3.10 or newer; say which one with: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-%: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[$*]'
	@touch $@

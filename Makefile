# The commands of a checkout; `make` alone lists them. Each makes .venv when it is missing or out of date.

PYTHON ?= python3
DEMO   ?= .venv/bin/cotune run fashion-mnist --timeout 150s
EXECUTE ?= cache

LOCK   := requirements-dev.lock
TORCH  := $(shell sed -n 's/^torch==//p' $(LOCK))
READY  := .venv/.installed
PIP    := .venv/bin/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-long lint format docs torture fuzz bench-peers clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: $(READY) ## install Cotune and everything it is developed with into .venv
	@echo ".venv is ready: .venv/bin/cotune"

demo: $(READY) ## tune a network on Fashion-MNIST for two and a half minutes
	@scripts/get-fashion-mnist
	$(DEMO)

test: lint ## check format, style and types, then run the tests, a process a core
	.venv/bin/python -m pytest -q -m "not slow" -n auto --dist loadfile

test-slow: $(READY) ## run the tests that kill processes, run for long or repeat whole runs
	.venv/bin/python -m pytest -q -m "slow and not long" -n auto --dist loadfile

test-long: $(READY) ## run the longest tests
	.venv/bin/python -m pytest -q -m long -n auto --dist loadfile

lint: $(READY) ## check format, style and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: $(READY) ## format the code and mend what can be mended by itself
	.venv/bin/ruff check --fix-only --exit-zero .
	.venv/bin/ruff format .

docs: $(READY) ## build the documentation site into docs/_build/html (EXECUTE=off: tutorials without outputs)
	@test $(EXECUTE) = off || scripts/get-fashion-mnist
	.venv/bin/python -m sphinx -W --keep-going -q -D nb_execution_mode=$(EXECUTE) docs docs/_build/html
	@echo "docs/_build/html/index.html"

torture: $(READY) ## kill runs 200 times at random instants, and see that nothing is lost
	.venv/bin/python -m tests.torture --kills 200

fuzz: $(READY) ## give hostile bytes to all that reads a file, half a minute each (Linux)
	@$(PIP) install atheris
	for reader in $$(.venv/bin/python -m tests.fuzz --list); do \
	    .venv/bin/python -m tests.fuzz $$reader -max_total_time=30 -verbosity=0 || exit 1; done

bench-peers: $(READY) ## install what benchmarks.anytime compares Cotune with into .venv
	@$(PIP) install -c $(LOCK) -e '.[peers]'

clean: ## remove .venv, caches and built packages; runs/ and downloaded data stay
	rm -rf .venv build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone: it brings whatever its build for this machine needs.
$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make: $(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing torch $(TORCH), $(LOCK) and cotune into .venv (a minute or two) ..."
	@$(PIP) install torch==$(TORCH)
	@$(PIP) install -r $(LOCK)
	@$(PIP) install --no-deps -e .
	@touch $@

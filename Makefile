# Two commands on a fresh machine: `make run` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test unit docs-test lint format clean help

help:            ## show the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(VENV)/run.stamp        ## run the default network for five epochs (again: five more)
	@$(BIN)/taoray launch --epochs 5

test: $(VENV)/dev.stamp       ## all tests but those of the documentation
	@$(BIN)/python -m pytest -q -m "not docs and not cluster" --numprocesses auto --dist loadfile
	@$(BIN)/python -m pytest -q -m cluster --numprocesses 2 --dist loadfile

unit: $(VENV)/dev.stamp       ## the quick tests that need no Ray
	@$(BIN)/python -m pytest -q -m "not docs and not cluster and not thorough" --numprocesses auto --dist loadfile

docs-test: $(VENV)/dev.stamp  ## run what the README shows
	@$(BIN)/python -m pytest -q -m docs

lint: $(VENV)/dev.stamp       ## ruff, mypy and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp     ## format and mend what ruff can
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean:           ## remove the environment and the caches, keep every network's home
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

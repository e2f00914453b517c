# `make run` and `make test` need nothing but a Python from 3.11 on; PYTHON=/path/to/python names another one.
# scripts/setup keeps .venv in step with the lock files and is done at once where nothing has changed.

BIN := .venv/bin
# pyright's launcher would ask the package index for a newer version.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Where it is set, pytest would go through the asserts of every file again in each run.
unexport PYTHONDONTWRITEBYTECODE
# A worker for each core. Each begins with a part of the files, and takes tests of another's when it has done its own.
WORKERS := --numprocesses=auto --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-long lint format bench lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | while IFS='	' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

run: setup ## find or install a sandbox, then run the quickstart suite with the reference model
	@sandbox=$$(scripts/ensure-sandbox) || exit $$?; \
	case $$sandbox in docker) set -- ;; *) set -- --sandbox "$$sandbox" ;; esac; \
	exec $(BIN)/agentlab run quickstart --model reference --harness tools "$$@"

test: setup-dev ## run the tests, all parts real; PYTEST="tests/tasks -x" narrows them
	@scripts/with-sandbox $(BIN)/pytest $(WORKERS) $(PYTEST)

test-long: setup-dev ## run the tests and the hundred-fold kill and soak loops
	@scripts/with-sandbox $(BIN)/pytest -m '' $(WORKERS) $(PYTEST)

lint: setup-dev ## run ruff, mypy --strict, pyright and the import contracts
	@scripts/lint

format: setup-dev ## put the code into shape: ruff format, and the fixes that ruff is sure of
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: setup-dev ## measure throughput, CPU a sample and start-up, and print the figures
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

lock: ## write the lock files anew from pyproject.toml; LOCK="--upgrade" takes later versions
	@scripts/lock $(LOCK)

clean: ## remove .venv, caches and builds; runs/ stays
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path ./runs -prune -o -name __pycache__ -type d -exec rm -rf {} +

setup:
	@scripts/setup

setup-dev:
	@scripts/setup --dev

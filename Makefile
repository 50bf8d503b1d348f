# The two commands a reader needs: `make up ARGS=--once`, `make test`. Set-up happens by itself and is skipped when done.
PYTHON ?= python3
VENV := .venv/bin
SETUP := $(PYTHON) deploy/scripts/setup_env.py
ARGS ?=
# A search or a whole profile on the cluster's engines needs their clients.
LEAVES = $(if $(findstring cluster,$(ARGS)),cluster,core)

.DEFAULT_GOAL := help
.PHONY: help setup setup-leaves setup-dev up test check eval bench faults rig rig-status gen gen-check release format lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with what askmesh needs to run
	@$(SETUP) core

setup-leaves:
	@$(SETUP) $(LEAVES)

setup-dev: ## Make .venv with what the tests and checks need too
	@$(SETUP) dev

up: setup-leaves ## Start everything in one process (ARGS=--once: ask and stop; '--profile cluster': real engines)
	@$(VENV)/askmesh up $(ARGS)

test: setup-dev ## Run the tests (ARGS="-k name"; REQUIRE_RIG=1 fails where a server of the rig is missing)
	@$(VENV)/python -m pytest $(ARGS)

check: setup-dev ## Format, lint, types, import rules, contracts, generated code
	@$(VENV)/python deploy/scripts/check.py

eval: setup-leaves ## Retrieval and answer quality against thresholds
	@$(VENV)/askmesh eval $(ARGS)

bench: setup-dev ## Latencies and throughput beside the floors of this machine
	@$(VENV)/python -m bench $(ARGS)

faults: setup-dev ## Break things on purpose, at length, and count what a caller sees
	@CAMPAIGN=1 $(VENV)/python -m pytest -s tests/faults tests/deploy/test_autoscaling.py tests/mesh/failing tests/mesh/test_releases.py $(ARGS)

rig: ## Build the real servers the tests use into a cache (quick the second time)
	@$(PYTHON) deploy/scripts/rig.py build $(ARGS)

rig-status: ## Show which servers of the rig are here
	@$(PYTHON) deploy/scripts/rig.py status

gen: setup-dev ## Generate gen/ from protos/
	@$(VENV)/python deploy/scripts/generate.py

gen-check: setup-dev
	@$(VENV)/python deploy/scripts/generate.py --check

release: setup-dev ## Freeze the contracts: later changes must be compatible with this image
	@mkdir -p protos/released
	@$(VENV)/buf build protos -o protos/released/v1.binpb && ls -l protos/released/v1.binpb

format: setup-dev ## Format Python and protos, fix what can be fixed
	@$(VENV)/ruff format -q . && $(VENV)/ruff check -q --fix . && $(VENV)/buf format -w protos

lock: setup-dev ## Rewrite the hashed locks from requirements/*.in (ARGS=--upgrade for newer versions)
	@deploy/scripts/lock.sh $(ARGS)

clean: ## Remove .venv and every cache of the checkout
	@rm -rf .venv .setup.lock third_party/google dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

include deploy/cluster.mk

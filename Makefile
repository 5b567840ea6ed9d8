# Needs Python 3.11 or newer with pip, git and make. Everything else is installed inside this clone
# (.tools for uv, .venv for Python packages); the system's Python is left as it is.

PYTHON ?= python3
RUN := $(PYTHON) tests/run.py
UV := .tools/bin/uv
PROJECT ?=
SEED := $(or $(SEED),$(shell $(PYTHON) -c 'import random; print(random.getrandbits(32))'))

# uv is to use the Python that is here, never to download one, and to ignore an environment that happens to be active.
export UV_PYTHON ?= $(shell $(PYTHON) -c 'import sys; print(sys.executable)')
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup project demo test test-fast test-long proof proof-long bench lint format picture clean

help: ## Show what can be made
	@$(PYTHON) -c 'import re; [print("  make %-11s%s" % found) for found in re.findall(r"(?m)^([a-z-]+):.*?## (.+)", open("Makefile").read())]'

setup: ## Install uv and this repository's tools inside this clone
	@$(RUN) setup

project: ## Render a project with the default answers into build/, with its environment
	@$(RUN) project

demo: project ## Render a project and run its demo: a whole call, offline
	cd build/my-voice-agent && ../../$(UV) run -m demo

test: ## Run every test: a rendered project's own, the proof, then this repository's (at most 15 minutes)
	@$(RUN) test

test-fast: setup ## Run this repository's fast tests (under a minute)
	$(UV) run pytest -m "not slow"

test-long: setup ## Try 50,000 hostile answers instead of 2,000; prints the seed (or: make test-long SEED=…)
	@echo "seed: $(SEED)"
	HYPOTHESIS_PROFILE=long $(UV) run pytest tests/test_hostile_answers.py --hypothesis-seed=$(SEED)

proof: ## Prove a rendered project; of your own, make proof PROJECT=path (a copy of it: yours is only read)
	@$(RUN) proof $(PROJECT)

proof-long: ## The same with the full counts: fuzz, spoken turns, load, soak (about an hour)
	@$(RUN) proof --long $(PROJECT)

bench: ## Measure: rendering against the engine's floor, then what a report costs the audio loop
	@$(RUN) bench

lint: setup ## Check style and types of this repository
	$(UV) run ruff check .
	$(UV) run ruff format --check .
	$(UV) run mypy

format: setup ## Put this repository's Python in order
	$(UV) run ruff check --fix .
	$(UV) run ruff format .

picture: project ## Draw the README's picture of the demo again
	$(UV) run docs/picture.py build/my-voice-agent

clean: ## Remove what make installed and rendered
	$(PYTHON) -c 'import shutil; [shutil.rmtree(folder, ignore_errors=True) for folder in ("build", ".venv", ".tools")]'

# Needs Python 3.11 or newer with pip, git and make. Everything else is installed inside this clone
# (.tools for uv, .venv for Python packages); the system's Python is left as it is.

PYTHON ?= python3
UV := .tools/bin/uv
PROJECT := build/my-voice-agent
SEED := $(or $(SEED),$(shell $(PYTHON) -c 'import random; print(random.getrandbits(32))'))

# uv is to use the Python that is here, never to download one, and to ignore an environment that happens to be active.
export UV_PYTHON ?= $(shell $(PYTHON) -c 'import sys; print(sys.executable)')
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV
# A hundred agents start in the project's tests: where their bytecode is kept, each starts in half the time.
KEEPING_BYTECODE := env -u PYTHONDONTWRITEBYTECODE
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup project demo test test-fast test-long bench lint format picture clean

help: ## Show what can be made
	@$(PYTHON) -c 'import re; [print("  make %-11s%s" % found) for found in re.findall(r"(?m)^([a-z-]+):.*?## (.+)", open("Makefile").read())]'

setup: .venv/ready ## Install uv and this repository's tools inside this clone

project: setup ## Render a project with the default answers into build/
	@# What an older version rendered goes; the environment, the lock file and .env.local stay.
	@$(PYTHON) -c 'import os, shutil; [shutil.rmtree(os.path.join("$(PROJECT)", entry.name), ignore_errors=True) for entry in os.scandir("{{cookiecutter.project_slug}}") if entry.is_dir()]'
	$(UV) run cookiecutter --no-input --overwrite-if-exists --output-dir build .

demo: project ## Render a project and run its demo: a whole call, offline
	cd $(PROJECT) && $(CURDIR)/$(UV) sync && $(CURDIR)/$(UV) run -m demo

test: project ## Run every test: the rendered project's, then this repository's (at most 8 minutes)
	cd $(PROJECT) && $(CURDIR)/$(UV) sync
	@# Most of a call is waiting, so two share the cores; what holds figures against clocks runs alone.
	cd $(PROJECT) && $(KEEPING_BYTECODE) $(CURDIR)/$(UV) run pytest -m "not timing" --numprocesses=2 --dist=loadfile
	cd $(PROJECT) && $(KEEPING_BYTECODE) $(CURDIR)/$(UV) run pytest -m timing
	$(UV) run pytest

test-fast: setup ## Run this repository's fast tests (under a minute)
	$(UV) run pytest -m "not slow"

test-long: setup ## Try 50,000 hostile answers instead of 2,000; prints the seed (or: make test-long SEED=…)
	@echo "seed: $(SEED)"
	HYPOTHESIS_PROFILE=long $(UV) run pytest tests/test_hostile_answers.py --hypothesis-seed=$(SEED)

bench: project ## Measure: rendering against the engine's floor, then the rendered project's own benchmark
	$(UV) run bench/rendering.py
	cd $(PROJECT) && $(CURDIR)/$(UV) sync && $(CURDIR)/$(UV) run -m bench

lint: setup ## Check style and types of this repository
	$(UV) run ruff check .
	$(UV) run ruff format --check .
	$(UV) run mypy

format: setup ## Put this repository's Python in order
	$(UV) run ruff check --fix .
	$(UV) run ruff format .

picture: project ## Draw the README's picture of the demo again
	cd $(PROJECT) && $(CURDIR)/$(UV) sync
	$(UV) run docs/picture.py $(PROJECT)

clean: ## Remove what make installed and rendered
	$(PYTHON) -c 'import shutil; [shutil.rmtree(folder, ignore_errors=True) for folder in ("build", ".venv", ".tools")]'

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11 …")'
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools "$$($(PYTHON) -c 'import re; print(re.search(r"uv==[0-9.]+", open("pyproject.toml").read())[0])')"

.venv/ready: $(UV) pyproject.toml
	$(UV) sync
	@$(PYTHON) -c 'open(".venv/ready", "w").close()'

# streamgen: `make run` shows a stylised camera, `make test` is everything CI runs.
#
#   make run [PORT=8188] [ARGS="--backend eager"]   install what is needed once, then serve
#   make run DIFFUSERS=1 ARGS="--model stabilityai/sd-turbo --device cuda"
#   make test [BROWSER=0]                           style, types, node tests, pytest (BROWSER=0 leaves Chromium out)
#   make fuzz [SECONDS=60]                          follow the branches of the parsers, with atheris; finds go to .fuzz/
#   make style | types | bench | clean
#
# PYTHON=python3.12   interpreter that makes .venv (3.11 or later)
# CPU=1               take the CPU build of torch even when an NVIDIA driver is there
# TORCH_INDEX=URL     where the CPU build comes from when the ordinary index only has the CUDA build

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8188
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
NODE_PACKAGES ?= typescript@5.9.3 whip-whep@1.2.0 ws@8.23.0 react@19.3.1 react-dom@19.3.1 @types/react@19.3.0 esbuild@0.28.2
BROWSER ?= 1
DIFFUSERS ?= 0
SECONDS ?= 60

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export TORCH_INDEX CPU

.DEFAULT_GOAL := help
.PHONY: help run test style types node-test bench fuzz clean

help:
	@sed -n "2,16s/^#  */  /p" Makefile

run: $(VENV)/.server $(if $(filter 1,$(DIFFUSERS)),$(VENV)/.diffusers)
	@exec $(BIN)/streamgen serve --port $(PORT) $(ARGS)

test: style types node-test
	@if [ "$(BROWSER)" = 1 ]; then tools/ensure-chromium; fi
	$(BIN)/python -m pytest $(if $(filter 1,$(BROWSER)),,-m "not browser")

style: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev $(VENV)/.node
	$(BIN)/mypy
	@if [ -f web/tsconfig.json ]; then echo "tsc --project web/tsconfig.json"; $(BIN)/tsc --noEmit --project web/tsconfig.json; fi

node-test:
	@tools/node-tests

bench: $(VENV)/.server
	$(BIN)/streamgen bench --flood-seconds 60 --output bench/results/bench.json $(ARGS)
	$(BIN)/python bench/install.py

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz.guided header .fuzz/header $(SECONDS)
	$(BIN)/python -m tests.fuzz.guided sdp .fuzz/sdp $(SECONDS)

clean:
	rm -rf $(VENV) .fuzz build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find streamgen tests bench -type d -name __pycache__ -prune -exec rm -rf {} +

# Stamps: a second `make run` starts no pip. They are newer than what they were made from, or remade.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "streamgen needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python could not make $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.torch: constraints.txt tools/install-torch | $(BIN)/python
	tools/install-torch $(BIN)/python
	@touch $@

$(VENV)/.server: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) install --constraint constraints.txt --editable ".[server]"
	@touch $@

$(VENV)/.diffusers: $(VENV)/.server
	$(PIP) install --constraint constraints.txt --editable ".[server,diffusers]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) install --constraint constraints.txt --editable ".[server,train,dev]"
	@touch $@ $(VENV)/.server $(VENV)/.diffusers

$(VENV)/.fuzz: pyproject.toml constraints.txt $(VENV)/.dev
	$(PIP) install --constraint constraints.txt --editable ".[server,fuzz]"
	@touch $@

$(VENV)/.node: Makefile | $(BIN)/python
	@command -v npm >/dev/null || { echo "the tests of web/js need node 20 or later with npm" >&2; exit 1; }
	npm install --global --prefix $(VENV) --no-audit --no-fund --loglevel error $(NODE_PACKAGES)
	@touch $@

# One file to set up, run and check Screenwise. `make help` lists the targets.
PY   ?= python3
VENV ?= .venv
BIN  := $(VENV)/bin
# uv does not read pip's configuration: give it pip's wheel folder, or else let it choose the CPU or CUDA build.
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PY) -m pip config get global.find-links 2>/dev/null))
ifeq ($(strip $(UV_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= auto
endif
# uv takes no empty list of links.
ifeq ($(strip $(UV_FIND_LINKS)),)
unexport UV_FIND_LINKS
endif
INSTALL := $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt

help:                            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
setup: $(VENV)/.run              ## make the environment only
demo: $(VENV)/.run               ## set up, then the main job on the embedded screen
	$(BIN)/screenwise demo --out demo
test: $(VENV)/.dev               ## set up, then the tests
	$(BIN)/pytest -q -n 2
check: $(VENV)/.dev              ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
docs: $(VENV)/.docs              ## the documentation, as HTML in docs/_build
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html
bench: $(VENV)/.dev              ## the figures of benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run_all.py

$(BIN)/uv:
	$(PY) -m venv $(VENV)
	$(BIN)/pip install -q uv
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) -e .
	@touch $@
$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) --group dev
	@touch $@
$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) --group docs
	@touch $@
.PHONY: help setup demo test check docs bench

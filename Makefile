# `make help` lists the commands. Everything runs in .venv, which is built from requirements.lock when it is needed.

.DEFAULT_GOAL := help
.PHONY: help demo test slow chaos mutations docs wheel package lock clean

UV ?= $(shell command -v uv)
BIN := .venv/bin
# Two processes: the tests of one process leave half of two cores idle. All tests of a file run in one
# of them, so that what the file trains is trained once; tests/conftest.py has the order.
PYTEST_WORKERS ?= 2
PARALLEL := -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

help:
	@echo "make demo    train on handwritten digits, every stage, and write runs/digits/report.html"
	@echo "make test    lint, format, types and tests (the environment is built first)"
	@echo "make slow    the tests that take minutes (a part of them: make slow TESTS=tests/trained)"
	@echo "make chaos   the tests that kill processes and fill disks"
	@echo "make mutations  break lines of the source on purpose: does a test fail for each?"
	@echo "make docs    build a site from the pages and the docstrings: site/index.html"
	@echo "make wheel   dist/sdt-VERSION-py3-none-any.whl, of what is committed"
	@echo "make package the wheel in an empty environment, and the notebook on it"
	@echo "make lock    write requirements.lock anew from pyproject.toml (UPGRADE=--upgrade for the newest versions)"
	@echo "make clean   remove .venv, build/, dist/, site/ and the caches; runs/ stays"

# The stamp is written last, so that an interrupted installation starts again.
.venv/.locked: requirements.lock
	@rm -rf .venv
ifneq ($(UV),)
	@echo "building .venv with uv"
	@$(UV) venv -q --no-project .venv && \
	  $(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements.lock || \
	  { echo "uv could not install; 'make UV= $(or $(MAKECMDGOALS),test)' uses pip and pip's settings" >&2; exit 1; }
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@for python in $(PYTHON) python3 python3.12 python3.13 python3.14 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
	    echo "building .venv with `$$python --version` and pip (one to six minutes without a word: most of it is downloading)"; \
	    exec $$python -m venv .venv; \
	  fi; \
	done; \
	echo "sdt needs Python 3.12 or newer; found: `python3 --version 2>&1`. Install it, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: .venv/.locked
	@$(BIN)/python run.py --config=configs/digits.py --workdir=runs/digits

test: .venv/.locked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PARALLEL)

# pytest exits with 5 where no test has the mark.
slow chaos: .venv/.locked
	$(BIN)/python -m pytest -o faulthandler_timeout=3600 -m $@ $(PARALLEL) $(TESTS) || { code=$$?; test $$code -eq 5 && echo "no test is marked $@" || exit $$code; }

mutations: .venv/.locked
	$(BIN)/python tests/mutations.py

# A warning, such as a link that leads nowhere, ends the build.
docs: .venv/.locked
	@JAX_PLATFORMS=cpu $(BIN)/python -m sphinx -q -E -W --keep-going -b html -c docs . site
	@echo "site: site/index.html"

# From a copy of the newest commit: what else lies in the folder does not get into it.
BUILD := import os, sys; from setuptools import build_meta; print(os.path.join('dist', build_meta.build_wheel(sys.argv[1])))
wheel: .venv/.locked
	@copy=`mktemp -d` && trap 'rm -rf "$$copy"' EXIT && mkdir -p dist && \
	  git archive --format=tar -o "$$copy/source.tar" HEAD && tar -xf "$$copy/source.tar" -C "$$copy" && \
	  python="$$PWD/$(BIN)/python" && dist="$$PWD/dist" && \
	  cd "$$copy" && "$$python" -c "$(BUILD)" "$$dist"

package: .venv/.locked
	$(BIN)/python -m pytest -m slow tests/test_package.py

# Universal: one file for Linux and macOS, Python 3.12 and newer; it names no index, so every user's own is asked.
LOCK := pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.12 --generate-hashes --no-header
lock: .venv/.locked
	@test -n "$(UV)" || $(BIN)/python -m pip install -q uv
	$(or $(UV),$(BIN)/uv) $(LOCK) $(UPGRADE) -q -o requirements.lock

clean:
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

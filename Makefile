# `make test` sets up what it needs and runs everything that CI runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# apt needs root; where it is missing, the packages are named so that an administrator can install them.
APT_PACKAGES := cmake libegl1 libosmesa6
ROBOSUITE := robosuite==1.5.2

.PHONY: help test test-all ctest lint clean

help:
	@echo "make test      set up, lint and run the tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make lint      ruff, mypy, import-linter"

$(VENV)/.venv-made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.system-packages:| $(VENV)/.venv-made
	@dpkg -s $(APT_PACKAGES) >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(APT_PACKAGES) >/dev/null; \
	  else echo "install these first: sudo apt-get install $(APT_PACKAGES)" >&2; exit 1; fi; }
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.system-packages | $(VENV)/.venv-made
	$(PIP) install -q -c constraints.txt torch==2.13.0
	$(PIP) install -q -c constraints.txt -e '.[cpu,export,sim,bench,dev]'
	$(PIP) install -q --no-deps $(ROBOSUITE)
	touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The C and C++ side against the same golden bytes.
ctest: $(VENV)/.system-packages
	cmake -S . -B build -DCMAKE_BUILD_TYPE=Release >/dev/null
	cmake --build build --parallel 2
	ctest --test-dir build --output-on-failure

test: lint ctest
	$(BIN)/pytest

test-all: lint ctest
	$(BIN)/pytest -m "not gpu and not jetson"

clean:
	rm -rf build out dist .mypy_cache .ruff_cache .pytest_cache

# Each target installs what it needs; later calls skip the installation.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/.demo
SETUP := .venv/.installed
DOCS := .venv/.docs
# Modules are compiled when they are first imported; compiling all of them takes more than half of the installation.
INSTALL := $(PYTHON) -m pip --python $(BIN)/python install --no-compile --constraint constraints.txt --editable

.PHONY: setup run test test-slow test-gpu check docs docs-serve bench clean

setup: $(SETUP)

# pip installs into the new environment from outside, so that Debian's python3-venv package is not needed.
$(DEMO): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip .venv
	$(INSTALL) '.[demo]'
	touch $(DEMO)

$(SETUP): $(DEMO)
	$(INSTALL) '.[demo,dev]'
	touch $(SETUP)

run: $(DEMO)
	$(BIN)/accelerate launch --config_file accelerate_configs/cpu.yaml experiments/run.py \
		--recipe experiments/recipes/quickstart.yaml

test: $(SETUP)
	$(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses auto --dist loadfile

test-slow: $(SETUP)
	$(BIN)/python -m pytest -m slow

test-gpu: $(SETUP)
	$(BIN)/python -m pytest -m gpu

check: $(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

$(DOCS): $(SETUP)
	$(INSTALL) '.[demo,dev,docs]'
	touch $(DOCS)

# Material's notice about MkDocs 2, which it does not work with: setup.cfg asks for MkDocs 1.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(DOCS)
	$(BIN)/mkdocs build --strict --quiet

docs-serve: export NO_MKDOCS_2_WARNING = 1
docs-serve: $(DOCS)
	$(BIN)/mkdocs serve --strict

bench: $(SETUP)
	$(INSTALL) '.[demo,dev,bench]'
	$(BIN)/python experiments/benchmarks/throughput.py

clean:
	rm -rf .venv *.egg-info

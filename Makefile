# Each target installs the packages that it needs; later calls skip the installation.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/.demo
SETUP := .venv/.installed
OLDEST := .venv-oldest/.installed
DOCS := .venv/.docs
# Modules are compiled when they are first imported; compiling all of them takes more than half of the installation.
INSTALL := $(PYTHON) -m pip --python $(BIN)/python install --no-compile --constraint constraints.txt --editable

# Container images often set this variable. Without compiled modules, every command takes about ten seconds longer.
unexport PYTHONDONTWRITEBYTECODE

TESTS := -m pytest -m "not slow and not gpu" --numprocesses auto --dist loadfile

.PHONY: setup run test test-slow test-gpu test-oldest test-newest coverage check docs docs-serve pictures bench bench-gpu release clean

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
	$(BIN)/python $(TESTS)

test-slow: $(SETUP)
	$(BIN)/python -m pytest -m slow

test-gpu: $(SETUP)
	$(BIN)/python -m pytest -m gpu

# Test with the lowest versions that setup.cfg allows. These versions call functions that newer dependencies have
# deprecated, so deprecation warnings are ignored.
test-oldest: $(OLDEST)
	.venv-oldest/bin/python $(TESTS) -W ignore::DeprecationWarning

$(OLDEST): setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear --without-pip .venv-oldest
	$(PYTHON) -m pip --python .venv-oldest/bin/python install --constraint constraints.txt uv
	.venv-oldest/bin/uv pip install --python .venv-oldest --resolution lowest-direct --editable '.[demo,dev]'
	touch $(OLDEST)

# Test with the newest versions that setup.cfg allows. Every call creates the environment anew.
test-newest:
	$(PYTHON) -m venv --clear --without-pip .venv-newest
	$(PYTHON) -m pip --python .venv-newest/bin/python install --no-compile --editable '.[demo,dev]'
	.venv-newest/bin/python $(TESTS)

# Slower than `make test`. Code executed by processes that were killed is not counted.
coverage: $(SETUP)
	$(BIN)/coverage erase
	$(BIN)/coverage run $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered

check: $(SETUP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

$(DOCS): $(SETUP)
	$(INSTALL) '.[demo,dev,docs]'
	touch $(DOCS)

# Hide Material's warning about MkDocs 2; setup.cfg requires MkDocs 1.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(DOCS)
	$(BIN)/mkdocs build --strict --quiet

# Needs Chromium.
pictures: $(SETUP)
	PYTHONPATH=. $(BIN)/python docs/scripts/pictures.py

docs-serve: export NO_MKDOCS_2_WARNING = 1
docs-serve: $(DOCS)
	$(BIN)/mkdocs serve --strict

bench: $(SETUP)
	$(INSTALL) '.[demo,dev,bench]'
	$(BIN)/python experiments/benchmarks/throughput.py

# Takes less than 20 minutes, and writes gpu.json and gpu.md.
bench-gpu: $(SETUP)
	$(BIN)/python experiments/benchmarks/gpu.py

release: $(SETUP)
	$(INSTALL) '.[demo,dev,release]'
	$(BIN)/python tests/scripts/release.py

clean:
	rm -rf .venv .venv-oldest .venv-newest *.egg-info

# Each target sets up what it needs; a second call does no set-up work.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed

.PHONY: setup run test test-slow test-gpu check bench clean

setup: $(SETUP)

# pip installs into the new environment from outside, so that Debian's python3-venv package is not needed.
$(SETUP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $(SETUP)

run: $(SETUP)
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

bench: $(SETUP)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt --editable '.[demo,dev,bench]'
	$(BIN)/python experiments/benchmarks/throughput.py

clean:
	rm -rf .venv *.egg-info

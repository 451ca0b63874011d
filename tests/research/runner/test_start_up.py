"""A run imports only the modules that it uses, and only when it uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.generation import candidate_generator

from tests.limits import HANG_LIMIT

CODE = """
import json, sys
from pathlib import Path
from research.runner.experiment import run_experiment
from research.settings.config import RunConfig

encoder, data, directory = sys.argv[1:]
before = [*sys.modules]
settings = {"encoder": encoder, "data": data, "output_dir": directory + "/run", "smoke": True, "log_with": []}
run_experiment(RunConfig(**settings, num_threads=1, mixed_precision="no"))
Path(directory, "modules.json").write_text(json.dumps([before, [*sys.modules]]))
"""
"""Code that runs a smoke test, and writes down which modules were imported before and after it."""

# Some slow imports cannot be avoided, and are not listed: Transformers imports scipy.optimize and torch._dynamo, and
# datasets imports pandas.
NOT_BEFORE_TRAINING = {
    "evaluate",
    "matplotlib",
    "optuna",
    "peft",
    "scipy.stats",
    "sklearn",
    "sqlalchemy",
    "statsmodels",
    "tensorboard",
    "transformers.pipelines",
    "research.records.figures",
    "research.report.page",
}
"""Modules that a run needs after training, or not at all."""
NEVER_NEEDED = {"matplotlib.pyplot", "optuna", "peft", "sqlalchemy", "statsmodels", "tensorboard"}
"""Modules that the smoke test in CODE does not need at all."""


@pytest.fixture(scope="module")
def modules_before_and_after(
    tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[str], set[str]]:
    """The modules imported before and after a smoke test (`--smoke`) without TensorBoard."""
    folder = tmp_path_factory.mktemp("start_up")
    environment = {**os.environ, "MIDWAY_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", CODE, str(tiny_encoder), str(tiny_reviews), str(folder)]
    subprocess.run(command, check=True, env=environment, timeout=HANG_LIMIT)
    before, after = json.loads((folder / "modules.json").read_text())
    return set(before), set(after)


def test_run_starts_before_importing_modules_that_it_needs_later(
    modules_before_and_after: tuple[set[str], set[str]],
) -> None:
    before, after = modules_before_and_after
    # Transformers 5.17 imports scikit-learn's roc_curve, and with it scipy.stats, for text generation.
    unavoidable = {"scipy.stats", "sklearn"} if hasattr(candidate_generator, "roc_curve") else set()
    assert before & (NOT_BEFORE_TRAINING - unavoidable) == set()
    assert "matplotlib" in after


def test_run_never_imports_modules_that_it_does_not_use(modules_before_and_after: tuple[set[str], set[str]]) -> None:
    _, after = modules_before_and_after
    assert after & NEVER_NEEDED == set()

"""A real environment with only Transformers and PyTorch classifies reviews with an exported model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from research.data.prepare.load import load_splits
from research.inference.saved_model import load_model
from research.settings.config import RunConfig
from tests.conftest import ROOT, Launch

CLASSIFY = """
import importlib.util, json, sys
from transformers import pipeline
missing = [name for name in ("heads", "research", "jaxtyping", "peft") if importlib.util.find_spec(name) is None]
classify = pipeline("text-classification", sys.argv[1], trust_remote_code=True, device="cpu")
json.dump([missing, classify(json.load(open(sys.argv[2])), top_k=None)], open(sys.argv[3], "w"))
"""


@pytest.mark.slow  # two minutes, and the download of PyTorch
def test_fresh_environment_classifies_reviews_like_midway(
    launch: Launch, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    python = tmp_path / "clean" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "clean"], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "-c"]
    subprocess.run([*pip, ROOT / "constraints.txt", "torch", "transformers"], check=True)

    settings = ["--head", "lstm", "--max_steps", 3, "--max_length", 64, "--limit_train", 100, "--limit_validation", 50]
    launch([*settings, "--report", "false", "--log_with", "[]", "--output_dir", tmp_path / "run"])
    launch([tmp_path / "run", "--format", "hub", "--output", tmp_path / "export"], script="export.py")
    texts = load_splits(RunConfig()).test["text"][:100]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(tmp_path / "modules")
    subprocess.run(
        [python, "-c", CLASSIFY, tmp_path / "export", tmp_path / "texts.json", tmp_path / "results.json"],
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    missing, results = json.loads((tmp_path / "results.json").read_text())
    assert missing == ["heads", "research", "jaxtyping", "peft"]
    scores = [next(each["score"] for each in row if each["label"] == "positive") for row in results]
    expected = load_model(tmp_path / "run").predict(texts, batch_size=1)["score_positive"]
    assert expected.std() > 1e-4
    np.testing.assert_allclose(scores, expected, atol=1e-5)  # Midway pads rows to a multiple of 32 tokens

"""Export adapters and head for PEFT."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from research import RunConfig, run_experiment
from research.export.base import create_format
from research.export.output_folder import writing_folder
from research.export.peft_folder import find_plain_encoder
from research.export.settings import ExportSettings
from research.inference.saved_model import SavedModel, load_model
from research.inference.scorer import Scorer


@pytest.fixture(scope="module")
def adapted_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run with adapters of an unusual scale and an LSTM head."""
    directory = tmp_path_factory.mktemp("runs") / "lora"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        run_experiment(
            RunConfig(
                encoder=str(tiny_encoder),
                data=str(tiny_reviews),
                head={"name": "lstm", "lstm_size": 8},
                peft={"name": "lora", "r": 3, "alpha": 20, "targets": "attention", "dropout": 0.1},
                lr=0.05,
                max_length=8,
                max_steps=4,
                mixed_precision="no",
                report=False,
                log_with=[],
                output_dir=str(directory),
            )
        )
    return directory


def export(saved: SavedModel, target: Path, *, merge: bool = False) -> None:
    """Export a model as export.py does."""
    settings = ExportSettings(run=str(saved.folder), format="peft", output=str(target), merge=merge)
    exporter = create_format(settings)
    with writing_folder(target, exporter.record, needed=0) as folder:
        exporter.write(saved, folder)


def test_export_contains_adapters_and_head_but_no_weights_of_the_encoder(adapted_run: Path, tmp_path: Path) -> None:
    saved = load_model(adapted_run)
    saved.model.set_temperature(3.0)  # the exported logits are compared with the trained model's in the export itself
    export(saved, tmp_path / "adapters")

    weights = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    assert all(re.search(r"\.lora_[AB]\.weight$|\.model\.head\.|\.logit_", name) for name in weights)
    np.testing.assert_allclose(weights["base_model.model.logit_scale"], [1 / 3] * 2)
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["modules_to_save"]) == (3, 20, ["head"])
    assert all("attention" in target for target in config["target_modules"])
    # The check in the export compares what PEFT computes with the trained model; adapters must matter for that.
    adapters = [value for name, value in weights.items() if "lora_B" in name]
    assert max(float(value.abs().max()) for value in adapters) > 1e-3


def test_the_example_of_the_card_computes_the_same_logits(
    adapted_run: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    saved = load_model(adapted_run)
    export(saved, tmp_path / "adapters")
    card = (tmp_path / "adapters" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = code.replace("path/to/this/folder", str(tmp_path / "adapters")).replace(
        f'"{tiny_encoder.name}"', f'"{tiny_encoder}"'
    )
    code = code.replace("print(config.id2label, logits.softmax(dim=-1))", "print(logits.double().tolist())")
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(json.loads(completed.stdout.splitlines()[-1]), Scorer(saved)([["a text"]]), atol=1e-6)


def test_export_merges_adapters_into_a_plain_model(adapted_run: Path, tmp_path: Path) -> None:
    saved = load_model(adapted_run)
    export(saved, tmp_path / "merged", merge=True)
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    exported = load_model(tmp_path / "merged")
    assert exported.model.config.adapters is None
    rows = [["the film was good"], ["bad and dull plot"]]
    np.testing.assert_allclose(Scorer(exported)(rows), Scorer(saved)(rows), atol=1e-5)


def test_export_refuses_a_model_without_adapters(adapted_run: Path, tmp_path: Path) -> None:
    saved = load_model(adapted_run)
    saved.model.config.adapters = None
    with pytest.raises(ValueError, match="--format hub"):
        export(saved, tmp_path / "plain")
    assert not list(tmp_path.iterdir())


def test_find_plain_encoder_refuses_changed_weights(adapted_run: Path) -> None:
    model = load_model(adapted_run).model
    find_plain_encoder(model)
    name, parameter = next(iter(model.encoder.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] += 1
    with pytest.raises(ValueError, match=re.escape(name)):
        find_plain_encoder(model)

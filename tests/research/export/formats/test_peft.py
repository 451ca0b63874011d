"""Export for PEFT: adapters and head that load onto the plain encoder and give the same logits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from heads import HEADS
from research.export.base import create_format
from research.export.isolated_process import BASE, run_isolated
from research.export.main import execute
from research.export.model_card import PLACEHOLDER
from research.export.output_folder import writing_folder
from research.export.settings import ExportSettings
from research.inference.saved_model import SavedModel, load_model
from research.inference.scorer import Scorer
from research.model.encoders import minilm
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.builders.trained_run import train_tiny_run

LORA = {"name": "lora", "r": 3, "alpha": 20, "targets": "attention", "dropout": 0.1}
TEXTS = ["good", "a bad and dull film that nobody liked, with a plot that never ends", "good good fine"]
PRINT = re.compile(r"^print\(.*\)$", re.MULTILINE)
COMPUTE = """
import json, sys
packages, results, again = sys.argv[1:]
sys.path.append(packages)
{code}
def compute(model):
    with torch.no_grad():
        return model(**tokenizer({texts}, padding=True, return_tensors="pt")).logits.tolist()
logits = compute(model)
model.save_pretrained(again)
base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
base.encoder = AutoModel.from_pretrained(encoder, config=base.encoder.config, dtype=torch.float32)
json.dump([logits, compute(PeftModel.from_pretrained(base, again).eval())], open(results, "w"))
"""
"""Runs the code of the card, and then saves and loads the adapters with PEFT."""
HEAD = """
import sys
from heads import Head, register_head
from heads.masking import masked_mean
from torch import nn

@register_head("mine")
class MyHead(Head):
    def __init__(self, encoder, num_labels):
        super().__init__()
        self.{layer} = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states, attention_mask):
        return self.{layer}(masked_mean(hidden_states, attention_mask)) * {factor}
"""
"""A plugin, without the name of its layer and a factor."""


@pytest.fixture(scope="module")
def adapted_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run with adapters of an unusual scale and an LSTM head."""
    return train_tiny_run(
        tmp_path_factory.mktemp("runs") / "lora",
        tiny_encoder,
        tiny_reviews,
        cache_dir,
        head={"name": "lstm", "lstm_size": 8},
        peft=LORA,
        lr=0.05,
        max_length=12,
    )


@pytest.fixture(scope="module")
def adapted_model(adapted_run: Path) -> SavedModel:
    """The run's model, with an affine map of the logits as after calibration or in a regression."""
    saved = load_model(adapted_run)
    saved.model.set_output_units(shift=torch.tensor([2.0, -1.0]), scale=torch.tensor([1 / 3, 7.0]))
    return saved


@pytest.fixture(scope="module")
def exported(adapted_model: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, exported as export.py does."""
    target = tmp_path_factory.mktemp("exports") / "adapters"
    settings = ExportSettings(run=str(adapted_model.folder), format="peft", output=str(target))
    exporter = create_format(settings)
    with writing_folder(target, exporter.record, needed=0) as folder:
        exporter.write(adapted_model, folder)
    return target


def test_export_writes_adapters_and_head_without_weights_of_the_encoder(exported: Path) -> None:
    weights = load_file(exported / "adapter_model.safetensors")
    assert all(re.search(r"\.encoder\..*\.lora_[AB]\.weight$|\.model\.head\.", name) for name in weights)
    # If the adapters had no effect, the comparisons of logits would not test them.
    assert max(float(value.abs().max()) for name, value in weights.items() if "lora_B" in name) > 1e-3
    assert not [path for path in exported.glob("*.safetensors") if path.name != "adapter_model.safetensors"]
    config = json.loads((exported / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 20, 0.1)
    assert config["modules_to_save"] == ["head"]
    assert config["base_model_name_or_path"] == "tiny"  # without folders of this machine
    assert all("attention" in target for target in config["target_modules"])


def test_the_code_of_the_card_computes_the_logits_without_midway(
    exported: Path, adapted_model: SavedModel, tiny_encoder: Path, tmp_path: Path
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    code = PRINT.sub("", code).replace(PLACEHOLDER, str(exported)).replace('"tiny"', repr(str(tiny_encoder)))
    (tmp_path / "compute.py").write_text(COMPUTE.format(code=code, texts=TEXTS))
    results = tmp_path / "results.json"
    run_isolated(tmp_path / "compute.py", [str(results), str(tmp_path / "again")], [*BASE, "peft"])
    expected = Scorer(adapted_model)([(text,) for text in TEXTS])
    loaded, saved_again = json.loads(results.read_text())
    np.testing.assert_allclose(loaded, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(saved_again, expected, rtol=0, atol=1e-6)


def test_adapters_have_the_units_of_the_output_in_a_process_with_midway(
    exported: Path, adapted_model: SavedModel
) -> None:
    config = AutoConfig.from_pretrained(exported, trust_remote_code=True)
    base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
    assert base.logit_scale.tolist() == adapted_model.model.logit_scale.tolist()
    assert base.logit_shift.tolist() == adapted_model.model.logit_shift.tolist()


def test_merge_writes_a_plain_model_that_midway_loads(adapted_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    execute(ExportSettings(run=str(adapted_run), format="peft", output=str(target), merge=True))
    assert not (target / "adapter_config.json").exists()
    merged = load_model(target)
    assert merged.model.config.adapters is None
    rows = [(text,) for text in TEXTS]
    np.testing.assert_allclose(Scorer(merged)(rows), Scorer(load_model(adapted_run))(rows), rtol=0, atol=1e-5)


def test_a_model_without_adapters_is_refused(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--format hub"):
        execute(ExportSettings(run=str(trained_run), format="peft", output=str(tmp_path / "adapters")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layer", "factor", "message"),
    [
        ("output_head", "1", r"head\.output_head.*--merge"),
        ("layer", "(2 if 'research' in sys.modules else 1)", "differ"),
    ],
    ids=["module that is also named head", "other logits without Midway"],
)
def test_a_head_that_peft_would_not_reproduce_is_refused(
    layer: str, factor: str, message: str, tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path
) -> None:
    plugin = tmp_path / f"{layer}_plugin.py"
    plugin.write_text(HEAD.format(layer=layer, factor=factor))
    target = tmp_path / "exports" / "adapters"
    with HEADS.isolated():
        settings: dict[str, Any] = {"plugin": [str(plugin)], "head": "mine", "peft": LORA, "max_length": 12}
        run = train_tiny_run(tmp_path / "run", tiny_encoder, tiny_reviews, cache_dir, **settings)
        with pytest.raises(ValueError, match=message):
            execute(ExportSettings(run=str(run), format="peft", output=str(target), plugin=[str(plugin)]))
    assert not target.parent.exists()


def test_a_packaged_encoder_is_named_as_on_the_hub(tiny_reviews: Path, cache_dir: Path, tmp_path: Path) -> None:
    run = train_tiny_run(
        tmp_path / "run",
        Path("minilm"),
        tiny_reviews,
        cache_dir,
        head="scalar_mix",
        peft="lora",
        max_length=16,
        lr=0.01,
    )
    target = tmp_path / "adapters"
    execute(ExportSettings(run=str(run), format="peft", output=str(target)))
    name = "sentence-transformers/all-MiniLM-L6-v2"
    card = (target / "README.md").read_text()
    assert f'encoder = "path/to/this/folder", "{name}"' in card
    assert "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" in card
    assert f"base_model: {name}" in card
    assert "library_name: peft" in card
    num_bytes = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    assert num_bytes < (minilm() / "model.safetensors").stat().st_size / 20


@pytest.mark.parametrize(
    "peft",
    [
        {"name": "dora", "r": 2},
        pytest.param({"name": "rslora", "r": 4}, marks=pytest.mark.slow),
        {"name": "ia3", "targets": "linear", "feedforward_modules": "encoder.layer.*.output.dense"},
        pytest.param({"name": "oft", "oft_block_size": 8}, marks=pytest.mark.slow),
        pytest.param({"name": "vera", "r": 4}, marks=pytest.mark.slow),
    ],
    ids=lambda peft: str(peft["name"]),
)  # each exports twice, which takes 17 seconds
def test_every_kind_of_adapters_is_exported_and_merged(
    peft: dict[str, Any], tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = train_tiny_run(
        tmp_path / "run", tiny_encoder, tiny_reviews, cache_dir, head="mean", peft=peft, lr=0.05, max_length=12
    )
    target, merged = tmp_path / "adapters", tmp_path / "merged"
    execute(ExportSettings(run=str(run), format="peft", output=str(target)))  # compares the logits with PEFT's
    weights = load_file(target / "adapter_model.safetensors")
    changed = [name for name in weights if ".encoder." in name]
    assert changed
    assert all(re.search(r"\.(lora_\w+|ia3_l|oft_R|vera_lambda_[bd])", name) for name in changed)
    assert json.loads((target / "config.json").read_text())["adapters"] is None
    execute(ExportSettings(run=str(run), format="peft", output=str(merged), merge=True))
    rows = [(text,) for text in TEXTS]
    plain = load_model(merged)
    assert plain.model.config.adapters is None
    np.testing.assert_allclose(Scorer(plain)(rows), Scorer(load_model(run))(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"bidirectional": True, "head": "mean"}),
        ("llama", {"timeline": [{"at": "1st", "set_bidirectional": True}]}),
        ("t5", {"head": "mean"}),
        ("bart", {"head": "mean"}),
    ],
    ids=["bidirectional", "set_bidirectional", "t5", "bart"],
)
def test_decoders_and_encoder_decoders_are_exported(
    family: str, settings: dict[str, Any], tiny_reviews: Path, cache_dir: Path, tmp_path: Path
) -> None:
    encoder = save_tiny_decoder(tmp_path / "encoder", family=family)
    if family == "bart":  # its encoder is loaded from the whole model
        AutoModel.from_config(AutoConfig.from_pretrained(encoder)).save_pretrained(encoder)
    run = train_tiny_run(
        tmp_path / "run", encoder, tiny_reviews, cache_dir, **{"peft": "lora", "lr": 0.05, "max_length": 12, **settings}
    )
    execute(
        ExportSettings(run=str(run), format="peft", output=str(tmp_path / "out"))
    )  # compares the logits with PEFT's

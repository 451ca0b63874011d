"""Export models as programs of torch.export."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from research.export.agreement import LARGEST_ALLOWED
from research.export.torch_program import write_torch_program
from tests.research.export import export_heads  # noqa: F401  # registers the heads
from tests.research.export.readme_code import run_readme
from tests.research.export.saved_models import tiny_saved_model

pytestmark = pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load of torch 2.10

TEXTS = ["one good film", "bad", "two films, 5 good and 7 bad ones"]


@pytest.mark.parametrize("head", ["gru", "lstm", "two_networks"])
def test_recurrent_networks_are_exported_for_any_length(head: str, tmp_path: Path) -> None:
    assert write_torch_program(tiny_saved_model(head=head), tmp_path) <= LARGEST_ALLOWED
    program = torch.export.load(tmp_path / "model.pt2")
    operations = [str(node.target) for node in program.graph.nodes]
    assert any(name.startswith(("aten.lstm", "aten.gru")) for name in operations)
    assert not any("midway" in name for name in operations)


def test_adapters_are_merged(tmp_path: Path) -> None:
    adapters = {"targets": ["encoder.layer.0.attention.self.query"], "r": 2, "alpha": 4, "dropout": 0.0}
    saved = tiny_saved_model(adapters=adapters)
    names = {name: parameter for name, parameter in saved.model.named_parameters() if "lora" in name}
    for parameter in names.values():
        torch.nn.init.normal_(parameter)
    saved.model.config.encoder.name_or_path = "/home/someone/encoder"
    saved.model.config.auto_map = {"AutoConfig": "modeling_midway.Config"}
    write_torch_program(saved, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["adapters"] is None
    assert "auto_map" not in config
    assert "/home/someone" not in json.dumps(config)
    exported = torch.export.load(tmp_path / "model.pt2").state_dict
    assert names
    assert not [name for name in exported if "lora" in name]
    assert names.keys() < dict(saved.model.named_parameters()).keys(), "the model itself has lost its adapters"


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_readme_predicts_as_midway_does(task: str, tmp_path: Path) -> None:
    thresholds = [0.45, 0.5, 0.55] if task == "multi_label" else None
    saved = tiny_saved_model(head="mean", task=task, truncation="head", thresholds=thresholds)
    write_torch_program(saved, tmp_path)
    expected = saved.predict(TEXTS)["prediction"].tolist()
    assert len(set(map(str, expected))) > 1
    predicted = run_readme(tmp_path, TEXTS)
    assert predicted == (pytest.approx(expected, abs=1e-4) if task == "regression" else expected)


@pytest.mark.parametrize("truncation", ["head", "tail"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_readme_truncates_and_pads_as_midway_does(truncation: str, padding_side: str, tmp_path: Path) -> None:
    saved = tiny_saved_model(head="mean", task="regression", truncation=truncation, padding_side=padding_side)
    write_torch_program(saved, tmp_path)
    texts = ["good " * 60 + "bad " * 60, "film"]
    assert run_readme(tmp_path, texts) == pytest.approx(saved.predict(texts)["prediction"].tolist(), abs=1e-4)


def test_readme_predicts_pairs(tmp_path: Path) -> None:
    saved = tiny_saved_model(head="mean", inputs={"text_columns": ["text", "text_pair"]})
    write_torch_program(saved, tmp_path)
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    expected = saved.predict(pairs)["prediction"].tolist()
    assert run_readme(tmp_path, TEXTS, TEXTS[::-1]) == expected


@pytest.mark.parametrize(
    ("head", "reason"), [("looks_at_values", "export_heads.py"), ("fixed_length", "length"), ("counts_calls", "differ")]
)
def test_what_cannot_be_exported_is_refused(
    head: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        write_torch_program(tiny_saved_model(head=head), tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_record_contains_what_was_checked(tmp_path: Path) -> None:
    largest = write_torch_program(tiny_saved_model("roberta"), tmp_path)
    facts = json.loads((tmp_path / "export.json").read_text())
    assert facts["largest_difference"] == largest
    assert facts["inputs"] == ["input_ids", "attention_mask"]
    assert facts["versions"]["torch"] == version("torch")

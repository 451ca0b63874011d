"""Export for Transformers: folders that load without Midway and give the same logits."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import pipeline

from heads import HEADS
from research import RunConfig, run_experiment
from research.export.isolated_process import BASE, run_isolated
from research.export.main import execute
from research.export.model_card import PLACEHOLDER
from research.export.settings import ExportSettings
from research.inference.saved_model import load_model
from research.inference.scorer import Scorer
from research.model.adapters import AdapterSettings, inject_adapters
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import load_encoder, load_tokenizer
from research.model.input_settings import InputSettings
from tests.messages import collect_messages

CLASSIFY = """
import json, sys
packages, model, texts, results = sys.argv[1:]
sys.path.append(packages)
from transformers import pipeline
texts = json.load(open(texts))
classify = pipeline("text-classification", model, trust_remote_code=True, device="cpu")
clean = getattr(classify.model, "clean", None)
texts = [{name: clean(text) for name, text in row.items()} for row in texts] if clean else texts
json.dump(classify(texts, top_k=None, batch_size=8), open(results, "w"))
"""


@pytest.fixture(scope="module")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's model, exported."""
    target = tmp_path_factory.mktemp("exports") / "lstm"
    execute(ExportSettings(run=str(trained_run), format="hub", output=str(target)))
    return target


def classify_without_midway(folder: Path, rows: list[dict[str, str]], tmp_path: Path) -> list[dict[str, float]]:
    """Return the score of each label for each row, from the exported model in a pipeline."""
    script, texts, results = tmp_path / "classify.py", tmp_path / "texts.json", tmp_path / "results.json"
    script.write_text(CLASSIFY)
    texts.write_text(json.dumps(rows))
    run_isolated(script, [str(folder), str(texts), str(results)], BASE)
    return [{each["label"]: each["score"] for each in row} for row in json.loads(results.read_text())]


def save_model(folder: Path, tiny_encoder: Path, **changed: object) -> EncoderWithHead:
    """Save a model of pairs with several labels, trained adapters and a temperature, as a run would."""
    encoder = load_encoder(str(tiny_encoder))
    adapters = AdapterSettings("lora", ["encoder.layer.0.attention.self.query"], {"r": 2, "lora_alpha": 6})
    inject_adapters(encoder, adapters)
    for name, parameter in encoder.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.5)
    inputs = InputSettings(task="multi_label", text_columns=("question", "answer"))
    config = EncoderWithHeadConfig(
        encoder=encoder.config,
        head="scalar_mix",
        max_input_length=9,
        truncation="head_tail",
        inputs=inputs.to_config(),
        problem_type="multi_label_classification",
        id2label={0: "good", 1: "bad", 2: "dull"},
        label2id={"good": 0, "bad": 1, "dull": 2},
        thresholds=[0.5, 0.25, 0.75],
    )
    model = EncoderWithHead(config, encoder)
    model.config.adapters = vars(adapters)
    nn.init.normal_(model.head.out.weight, std=0.5)  # type: ignore[union-attr, arg-type]
    model.set_temperature(2.0)
    model.save_pretrained(folder)
    load_tokenizer(str(tiny_encoder)).save_pretrained(folder)
    return model


def test_exported_model_classifies_like_the_run(
    trained_run: Path, exported: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    with (tiny_reviews / "test.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert max(len(text.split()) for text in texts) > 8, "no text is truncated"
    expected = load_model(trained_run).predict(texts)
    scores = classify_without_midway(exported, [{"text": text.upper()} for text in texts], tmp_path)
    for label in ("negative", "positive"):
        np.testing.assert_allclose([row[label] for row in scores], expected[f"score_{label}"], atol=1e-6)


def test_midway_loads_the_exported_model(trained_run: Path, exported: Path) -> None:
    texts = ["the film was good", "bad plot and very dull and cold film"]
    expected, predicted = load_model(trained_run).predict(texts), load_model(exported).predict(texts)
    assert predicted.equals(expected)


def test_pipelines_in_a_process_with_midway_refuse_inputs_that_are_too_long(exported: Path) -> None:
    classify = pipeline("text-classification", str(exported), trust_remote_code=True, device="cpu")
    assert len(classify(["good film", "bad"])) == 2
    with pytest.raises(ValueError, match=r"at most 8 tokens, got 12.*load_model"):
        classify("good " * 10)


def test_exported_folder_contains_the_code_of_the_head_only(exported: Path) -> None:
    code = {path.stem for path in exported.glob("*.py")}
    assert {"modeling_midway", "lstm", "recurrent", "cleaning", "head_and_cleaning", "truncation"} <= code
    assert not code & {"linear", "cnn", "registry"}
    for path in exported.glob("*.py"):
        assert not re.search(r"^\s*(import|from) (heads|research|jaxtyping|peft)", path.read_text(), re.MULTILINE)


def test_tokenizer_has_the_models_length_and_truncation_side(exported: Path) -> None:
    settings = json.loads((exported / "tokenizer_config.json").read_text())
    assert (settings["model_max_length"], settings.get("truncation_side", "right")) == (8, "right")


def test_example_in_the_card_runs_without_midway(exported: Path, tmp_path: Path) -> None:
    card = (exported / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    assert PLACEHOLDER in code[1]
    script = tmp_path / "example.py"
    script.write_text("import sys; sys.path.append(sys.argv[1])\n" + code[1].replace(PLACEHOLDER, str(exported)))
    run_isolated(script, [], BASE)


def test_adapters_pairs_labels_and_temperature_are_exported(tiny_encoder: Path, tmp_path: Path) -> None:
    folder, target = tmp_path / "model", tmp_path / "export"
    save_model(folder, tiny_encoder)
    with collect_messages() as messages:
        execute(ExportSettings(run=str(folder), format="hub", output=str(target)))
    assert any(message.startswith("Merged the adapters") for message in messages)

    rows = [("the film was very good and warm and fine", "bad"), ("good", "the plot was dull and bad and very cold")]
    saved = load_model(folder)
    expected = saved.task.probabilities(Scorer(saved)(rows))
    results = classify_without_midway(
        target, [dict(zip(("text", "text_pair"), row, strict=True)) for row in rows], tmp_path
    )
    np.testing.assert_allclose([[row[name] for name in saved.task.label_names] for row in results], expected, atol=1e-6)
    assert np.ptp(expected) > 0.01
    card = (target / "README.md").read_text()
    assert "`bad` 0.25" in card
    assert "temperature of 2" in card


def test_native_export_needs_no_remote_code(tmp_path: Path, tiny_encoder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    encoder, folder, target = tmp_path / "encoder", tmp_path / "model", tmp_path / "export"
    tokenizer = load_tokenizer(str(tiny_encoder))
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=48, max_position_embeddings=64
    )
    DistilBertModel(config).save_pretrained(encoder)
    loaded = load_encoder(str(encoder))
    EncoderWithHead(
        EncoderWithHeadConfig(
            encoder=loaded.config,
            head="linear",
            max_input_length=10,
            truncation="tail",
            inputs=InputSettings(task="regression").to_config(),
            problem_type="regression",
            id2label={0: "score"},
            label2id={"score": 0},
        ),
        loaded,
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    execute(ExportSettings(run=str(folder), format="hub", native=True, output=str(target)))
    assert not list(target.glob("*.py"))
    assert json.loads((target / "config.json").read_text())["architectures"] == ["DistilBertForSequenceClassification"]
    assert "trust_remote_code" not in (target / "README.md").read_text()
    with pytest.raises(ValueError, match="exported for other programs"):
        load_model(target)


UNEQUAL_HEAD = """
from heads import register_head
from heads.linear import LinearHead
import sys

FACTOR = 1.0 if "research" in sys.modules else 1.5


@register_head("unequal")
class UnequalHead(LinearHead):
    def pool(self, hidden_states, attention_mask):
        return super().pool(hidden_states, attention_mask) * FACTOR
"""


def test_export_that_gives_other_logits_is_refused_and_leaves_nothing(
    trained_run: Path, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    plugin = tmp_path / "unequal.py"
    plugin.write_text(UNEQUAL_HEAD)
    run, output = tmp_path / "run", tmp_path / "exports" / "unequal"
    with HEADS.isolated():
        run_experiment(
            RunConfig(
                encoder=str(tiny_encoder),
                data=str(tiny_reviews),
                head="unequal",
                plugin=[str(plugin)],
                max_length=16,
                max_steps=1,
                mixed_precision="no",
                report=False,
                log_with=[],
                output_dir=str(run),
            )
        )
        with pytest.raises(ValueError, match="differ by up to"):
            execute(ExportSettings(run=str(run), format="hub", output=str(output)))
    assert not output.parent.exists()


def test_export_refuses_what_cannot_be_exported(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "file").write_text("")
    for run, output, message in (
        (tmp_path / "nothing", tmp_path / "new", "no folder"),
        (trained_run, tmp_path / "existing", "exists"),
        (trained_run, trained_run, "exists"),
    ):
        with pytest.raises(ValueError, match=message):
            execute(ExportSettings(run=str(run), format="hub", output=str(output)))
    shutil.rmtree(tmp_path / "existing")
    with pytest.raises(ValueError, match="tanh"):
        execute(ExportSettings(run=str(trained_run), format="hub", native=True, output=str(tmp_path / "new")))
    assert not list(tmp_path.iterdir())

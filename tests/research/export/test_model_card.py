"""The model card of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from research.export.card_metadata import CardFacts
from research.export.model_card import write_card
from research.inference.saved_model import load_model


def write(run: Path, folder: Path, **changed: object) -> str:
    """Write the card of a run, and return it."""
    saved = load_model(run)
    facts: dict[str, object] = {"repository": None, "is_native": False, "requirements": ()}
    write_card(CardFacts(saved, saved.model, **(facts | changed)), folder)  # type: ignore[arg-type]
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def card(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of the run."""
    return write(trained_run, tmp_path_factory.mktemp("card"))


def test_metadata_contains_the_test_metrics_in_the_hubs_format(card: str, trained_run: Path) -> None:
    data: Any = ModelCard(card).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-classification")
    assert "head-lstm" in data.tags
    metrics = json.loads((trained_run / "result.json").read_text())["metrics"]["test"]
    reported = {each.metric_name: each.metric_value for each in data.eval_results}
    assert reported == {name: value for name, value in metrics.items() if name != "loss"}
    assert data.get("base_model") is None  # the encoder is a folder on this machine


def test_card_describes_data_results_and_training(card: str, trained_run: Path) -> None:
    result = json.loads((trained_run / "result.json").read_text())
    assert "47 train, 19 validation, 23 test rows" in card
    row = next(line for line in card.splitlines() if line.startswith("| accuracy |"))
    _, _, test, interval, validation, _ = (cell.strip() for cell in row.split("|"))
    assert (test, validation) == tuple(
        f"{result['metrics'][split]['accuracy']:.4f}" for split in ("test", "validation")
    )
    low, high = map(float, interval.split(" to "))
    assert low <= float(test) <= high
    assert "lstm_size: 8" in card
    assert f"torch {result['versions']['torch']}" in card
    assert "clean = classify.model.clean" in card


def test_card_contains_no_folder_of_this_machine(card: str, trained_run: Path, tiny_reviews: Path) -> None:
    for folder in (trained_run.parent, tiny_reviews.parent):
        assert str(folder) not in card


def test_card_lists_the_edits_of_the_journal(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    clock = {"steps_per_epoch": 4, "total_steps": 3, "batch_size": 8, "step": 1, "epoch": 0, "step_in_epoch": 1}
    clock |= {"num_examples_seen": 8, "examples_per_epoch": 47}
    record = {"number": 1, "step": 1, "epoch": 0.25, "name": "unfreeze", "arguments": {"modules": "encoder"}}
    record |= {"requested_by": "timeline", "trainable_parameters": [10, 2000], "parameters": [2000, 2000]}
    record |= {"entry": None, "skipped": None, "clock": clock}
    (run / "journal.jsonl").write_text(json.dumps(record) + "\n")
    assert "| 1 | `unfreeze(modules='encoder')` | 10 → 2,000 |" in write(run, tmp_path)


def test_card_names_the_hardware(card: str, trained_run: Path) -> None:
    result = json.loads((trained_run / "result.json").read_text())
    assert result["device"]
    assert f"Hardware: 1 process on {result['device']} with 1 CPU thread each" in card


def test_card_of_a_run_by_an_earlier_version_leaves_the_device_out(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    del result["device"], result["num_threads"]
    (run / "result.json").write_text(json.dumps(result))
    assert "Hardware: 1 process, mixed precision" in write(run, tmp_path)


def changed_run(trained_run: Path, tmp_path: Path, **changed: object) -> Path:
    """Return a copy of a run with other fields in result.json."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | changed))
    return run


def test_card_says_that_the_run_is_a_fork_and_the_model_is_its_best(trained_run: Path, tmp_path: Path) -> None:
    run = changed_run(trained_run, tmp_path, parent={"run": "/home/someone/runs/first", "step": 1200})
    (run / "model").rename(run / "best")
    config = (run / "config.yaml").read_text()
    assert "best_metric: null" in config
    (run / "config.yaml").write_text(config.replace("best_metric: null", "best_metric: accuracy"))
    card = write(run, tmp_path)
    assert "continues the run `first` from step 1,200" in card
    assert "best accuracy on the validation rows" in card


def test_card_of_a_run_that_has_not_finished_has_no_results(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "result.json").write_text('{"status": "interrupted", "error": "SIGTERM"}')
    card = write(run, tmp_path)
    assert "## Results" not in card
    assert "## Data" not in card
    assert "data above" not in card


def test_card_contains_metrics_that_are_not_finite(trained_run: Path, tmp_path: Path) -> None:
    metrics = json.loads((trained_run / "result.json").read_text())["metrics"]
    metrics["test"] |= {"mcc": None, "auroc": "inf"}
    card = write(changed_run(trained_run, tmp_path, metrics=metrics), tmp_path)
    assert "| mcc | not defined | - |" in card
    assert "| auroc | inf | - |" in card
    data: Any = ModelCard(card).data
    reported = {each.metric_name for each in data.eval_results}
    assert "accuracy" in reported
    assert not reported & {"mcc", "auroc"}


@pytest.mark.parametrize(
    ("encoder", "base_model"),
    [
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("./minilm", None),
        ("someone/downloaded", "someone/downloaded"),
        ("downloaded", "downloaded"),
        ("folders/moved", None),
    ],
)
def test_base_model_is_a_repository_of_the_hub(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, base_model: str | None
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("someone--downloaded", "downloaded"):
        repository = tmp_path / "cache" / f"models--{name}"
        for folder in ("refs", "snapshots/1234"):
            (repository / folder).mkdir(parents=True)
        (repository / "refs" / "main").write_text("1234")
        (repository / "snapshots" / "1234" / "config.json").write_text("{}")
    run = shutil.copytree(trained_run, tmp_path / "run")
    config = json.loads((run / "model" / "config.json").read_text())
    config["encoder"]["_name_or_path"] = encoder
    (run / "model" / "config.json").write_text(json.dumps(config))
    saved = load_model(run)
    assert saved.model.config.encoder.name_or_path == encoder
    write_card(CardFacts(saved, saved.model, None, False, ()), tmp_path)
    assert ModelCard.load(tmp_path / "README.md").data.get("base_model") == base_model


def test_card_of_a_model_without_a_run_has_no_results(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run / "model", tmp_path / "copied")
    card = write(tmp_path / "copied", tmp_path, repository="someone/reviews", requirements=("scikit-learn",))
    assert "## Results" not in card
    assert "## Data" not in card
    assert 'model="someone/reviews"' in card
    assert "`scikit-learn`" in card
    assert ModelCard(card).data.get("eval_results") is None

"""Runs with every task, head, objective and schedule, and several data formats, with defaults that suit the task."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from heads import HEADS
from research.learning.objectives import OBJECTIVES
from research.learning.schedules import SCHEDULES
from research.runner.experiment import run_experiment
from research.runner.run_result import RunResult
from research.settings.command_line import Command, parse
from research.training.api import Run
from research.training.hook import Hook
from tests.conftest import WORDS, Launch
from tests.shipped import shipped_names

DataFolder = Callable[[str], Path]
Train = Callable[..., RunResult]
QUICK_RUN_FLAGS = (
    "--max_length=32",
    "--batch_size=8",
    "--mixed_precision=no",
    "--num_threads=1",
    "--log_every=1",
    "--report=false",
)
NUM_ROWS = {"train": 40, "validation": 12, "test": 15}
CLASS_NAMES = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def make_sentence(row: int) -> str:
    """Return 3 to 11 random words after the number of the row."""
    words = np.random.default_rng(row).choice(WORDS, size=3 + row % 9)
    return f"{row} {' '.join(words)}"


def write_pairs(folder: Path) -> None:
    """Write pairs of texts as tsv files, without a validation file. Quotes are part of the texts and never closed."""
    for split in ("train", "test"):
        lines = ["sentence1\tsentence2\tlabel"]
        for row in range(NUM_ROWS[split]):
            label = "equivalent" if row % 3 else "different"
            lines.append(f'"The {make_sentence(row)}, {split}\t5" of "{make_sentence(row + 1)}\t{label}')
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_multi_label(folder: Path) -> None:
    """Write rows with lists of labels. Some lists are empty."""
    for split, num_rows in NUM_ROWS.items():
        rows = [
            {
                "text": f"{split} {make_sentence(row)}",
                "labels": [name for divisor, name in ((2, "joy"), (3, "anger"), (5, "fear")) if row % divisor == 0],
            }
            for row in range(num_rows)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_scores(folder: Path) -> None:
    """Write pairs of texts with a score from 0 to 5."""
    for split, num_rows in NUM_ROWS.items():
        lines = ["sentence1,sentence2,score"]
        lines += [f"{split} {make_sentence(row)},{make_sentence(row + 1)},{row % 26 / 5}" for row in range(num_rows)]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_six_classes(folder: Path) -> None:
    """Write rows with six classes and a column of finer labels, without a validation file."""
    for split in ("train", "test"):
        rows = [
            {
                "text": f"{split} {make_sentence(row)} ?",
                "label": CLASS_NAMES[row % 6],
                "fine_label": f"{CLASS_NAMES[row % 6]}:{row}",
            }
            for row in range(NUM_ROWS[split])
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_binary(folder: Path) -> None:
    """Write rows with two classes. Their texts contain commas and are therefore quoted."""
    for split, num_rows in NUM_ROWS.items():
        lines = ["text,label"]
        lines += [
            f'"{split} , {make_sentence(row)}",{"positive" if row % 2 else "negative"}' for row in range(num_rows)
        ]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


WRITERS = {
    "pairs": write_pairs,
    "multi_label": write_multi_label,
    "scores": write_scores,
    "six_classes": write_six_classes,
    "binary": write_binary,
}


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A function that returns the folder with a kind of data, written at the first call: `data_folder("pairs")`."""
    root = tmp_path_factory.mktemp("tasks")

    def find_or_write(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            folder.mkdir()
            WRITERS[kind](folder)
        return folder

    return find_or_write


@pytest.fixture
def train(deep_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """A function that trains in tmp_path/run, given flags, and returns the content of result.json.

    It also checks that the run finishes with finite losses.
    """
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run(*arguments: object, hooks: Sequence[Hook] = (), num_steps: int = 3) -> RunResult:
        fixed_flags = [
            f"--encoder={deep_encoder}",
            f"--output_dir={tmp_path / 'run'}",
            f"--max_steps={num_steps}",
            *QUICK_RUN_FLAGS,
        ]
        command = parse([*fixed_flags, *map(str, arguments)])
        assert isinstance(command, Command)
        result = run_experiment(command.config, hooks=hooks)
        assert (result["status"], result["steps"]) == ("finished", num_steps)
        assert all(np.isfinite(metrics["loss"]) for metrics in result["metrics"].values())
        return result

    return run


def predictions_of(directory: Path, split: str = "test") -> dict[str, np.ndarray[Any, Any]]:
    table = pq.read_table(directory / "predictions" / f"{split}.parquet").to_pydict()
    # The label names of multi-label rows are lists of different lengths.
    return {name: np.array(values, dtype=object if name.endswith("_name") else None) for name, values in table.items()}


def settings_of(directory: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((directory / "config.yaml").read_text())
    return settings


def check_run_without_test_labels(
    train: Train, labelled_result: RunResult, data: Path, folder: Path, *flags: str
) -> None:
    """Repeat the run in `folder` without test labels, and check that only results that need these labels change.

    Args:
        train: the fixture `train`.
        labelled_result: result of the run with test labels.
        data: folder with the labelled data.
        folder: folder that contains the run directory. The data without test labels are written here too.
        *flags: flags of the run.
    """
    expected = predictions_of(folder / "run")
    unlabelled = folder / "unlabelled"
    shutil.copytree(data, unlabelled)
    (path,) = unlabelled.glob("test.*")
    lines = path.read_text().splitlines()
    if path.suffix == ".csv":
        lines = [line.rpartition(",")[0] for line in lines]
    else:
        lines = [json.dumps({"text": json.loads(line)["text"]}) for line in lines]
    path.write_text("\n".join(lines) + "\n")
    result = train("--data", unlabelled, *flags, "--overwrite", "--report=true")
    assert result["unlabelled"] == ["test"]
    assert result["metrics"] == {"validation": labelled_result["metrics"]["validation"]}
    assert result["weights_sha256"] == labelled_result["weights_sha256"]
    predictions = predictions_of(folder / "run")
    assert list(predictions) == list(expected)
    for name, values in predictions.items():
        if name in ("label", "label_name"):
            assert values.tolist() == [None] * 15
        else:
            assert values.tolist() == expected[name].tolist()
    page = (folder / "run" / "report.html").read_text()
    assert 'id="unlabelled-test"' in page
    assert not any(f"{title}test" in page for title in ("Confusion matrix, ", "Predictions, ", "labels-", ">test ("))


def test_pairs_with_literal_quotes_are_trained_on_and_predicted(
    train: Train, data_folder: DataFolder, tmp_path: Path
) -> None:
    result = train("--data", data_folder("pairs"), "--validation_share", "0.2")
    assert result["rows"] == {"train": 32, "validation": 8, "test": 15}
    assert settings_of(tmp_path / "run")["objective"]["name"] == "cross_entropy"
    predictions = predictions_of(tmp_path / "run")
    assert list(predictions) == [
        *("id", "file", "row", "label", "prediction", "label_name", "prediction_name"),
        *("score_different", "score_equivalent"),
    ]
    assert predictions["row"].tolist() == list(range(1, 16))
    assert predictions["label"].tolist() == [int(row % 3 != 0) for row in range(15)]
    assert result["metrics"]["test"]["accuracy"] == pytest.approx(
        (predictions["label"] == predictions["prediction"]).mean()
    )
    validation = predictions_of(tmp_path / "run", "validation")
    assert max(validation["id"]) >= 8, "expected ids to be numbers of rows in the file, not in the split"
    assert validation["label"].tolist() == [int(row % 3 != 0) for row in validation["id"]]


def test_multi_label_rows_with_empty_lists_are_trained_on_and_predicted(
    train: Train, data_folder: DataFolder, tmp_path: Path
) -> None:
    result = train("--data", data_folder("multi_label"))
    metrics = result["metrics"]["test"]
    assert settings_of(tmp_path / "run")["objective"]["name"] == "bce"
    assert {"subset_accuracy", "f1_micro", "f1_macro", "f1/joy", "f1/anger", "f1/fear"} <= metrics.keys()
    predictions = predictions_of(tmp_path / "run")
    assert list(predictions) == [
        *("id", "file", "row", "label", "prediction", "label_name", "prediction_name"),
        "score_anger",
        "score_fear",
        "score_joy",
    ]
    # In the order anger, fear, joy.
    expected = [[int(row % 3 == 0), int(row % 5 == 0), int(row % 2 == 0)] for row in range(15)]
    assert predictions["label"].tolist() == expected
    scores = np.stack([predictions[f"score_{name}"] for name in ("anger", "fear", "joy")], axis=1)
    assert (predictions["prediction"] == (scores > 0.5)).all()
    assert metrics["subset_accuracy"] == pytest.approx(
        (predictions["label"] == predictions["prediction"]).all(axis=1).mean()
    )
    check_run_without_test_labels(train, result, data_folder("multi_label"), tmp_path)


def test_scores_of_pairs_are_trained_on_and_predicted(train: Train, data_folder: DataFolder, tmp_path: Path) -> None:
    result = train("--data", data_folder("scores"))
    metrics = result["metrics"]["test"]
    assert settings_of(tmp_path / "run")["objective"] == "mse"
    assert {"pearson", "spearman", "mse"} <= metrics.keys()
    predictions = predictions_of(tmp_path / "run")
    # The last column is named "score_" and the name of the label column.
    assert list(predictions) == ["id", "file", "row", "label", "prediction", "score_score"]
    assert predictions["label"] == pytest.approx([row / 5 for row in range(15)])
    assert metrics["mse"] == pytest.approx(np.square(predictions["label"] - predictions["prediction"]).mean())
    assert metrics["pearson"] == pytest.approx(np.corrcoef(predictions["label"], predictions["prediction"])[0, 1])
    check_run_without_test_labels(train, result, data_folder("scores"), tmp_path)


def test_six_classes_are_trained_on_and_predicted(train: Train, data_folder: DataFolder, tmp_path: Path) -> None:
    flags = ("--text_column", "text", "--validation_share", "0.2")
    result = train("--data", data_folder("six_classes"), *flags)
    predictions = predictions_of(tmp_path / "run")
    assert list(predictions)[7:] == [f"score_{name}" for name in CLASS_NAMES]
    assert np.sum([predictions[f"score_{name}"] for name in CLASS_NAMES], axis=0) == pytest.approx(np.ones(15))
    assert {"accuracy", "f1_macro", "mcc"} <= result["metrics"]["test"].keys()
    check_run_without_test_labels(train, result, data_folder("six_classes"), tmp_path, *flags)


def test_best_model_for_two_classes_can_be_selected_by_auroc(
    train: Train, data_folder: DataFolder, tmp_path: Path
) -> None:
    # Evaluations are made after every step.
    result = train("--data", data_folder("binary"), "--best_metric", "auroc", "--evaluate_every", "1st")
    assert result["rows"] == NUM_ROWS
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()
    assert predictions_of(tmp_path / "run", "validation")["id"].tolist() == list(range(12))


@pytest.mark.parametrize("head", HEADS)
def test_every_head_changes_its_parameters_in_the_first_step(train: Train, data_folder: DataFolder, head: str) -> None:
    initial_parameters: list[Any] = []

    class CheckParametersChange(Hook):
        def on_train_start(self, run: Run) -> None:
            initial_parameters.extend(
                parameter.detach().clone() for parameter in run.encoder_with_head.head.parameters()
            )

        def after_step(self, run: Run) -> None:
            parameters = run.encoder_with_head.head.parameters()
            assert any((old != new).any() for old, new in zip(initial_parameters, parameters, strict=True))

    train(
        "--data",
        data_folder("binary"),
        "--head",
        head,
        "--objective=cross_entropy",
        hooks=[CheckParametersChange()],
        num_steps=1,
    )
    assert initial_parameters


@pytest.mark.parametrize("schedule", shipped_names(SCHEDULES))
def test_every_schedule_sets_valid_learning_rates(
    train: Train, data_folder: DataFolder, tmp_path: Path, schedule: str
) -> None:
    train("--data", data_folder("binary"), "--schedule", schedule, "--lr=0.5", "--head_lr=0.25", "--layer_decay=1")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate/layer.0"] for line in lines]
    assert len(rates) == 3
    assert all(0 <= rate <= 0.5 for rate in rates)
    assert max(rates) > 0
    assert [line["learning_rate/head"] for line in lines] == pytest.approx([rate / 2 for rate in rates])


@pytest.mark.parametrize("objective", shipped_names(OBJECTIVES))
def test_run_finishes_with_every_objective(
    train: Train, data_folder: DataFolder, tmp_path: Path, objective: str
) -> None:
    data_by_task = {"single_label": "six_classes", "multi_label": "multi_label", "regression": "scores"}
    task = OBJECTIVES[objective].tasks[0]
    train("--data", data_folder(data_by_task[task]), "--objective", objective, "--dropout=0.1")
    choice = settings_of(tmp_path / "run")["objective"]
    assert objective == (choice if isinstance(choice, str) else choice["name"])


def test_one_cycle_lowers_and_raises_the_momentum_of_sgd(train: Train, data_folder: DataFolder) -> None:
    momenta: list[float] = []

    class RecordsMomentum(Hook):
        def before_step(self, run: Run) -> None:
            momenta.append(run.optimizer.param_groups[0]["momentum"])

    flags = ("--schedule=one_cycle", "--schedule.cycle_momentum=true", "--warmup=2st")
    train("--data", data_folder("binary"), "--optimizer=sgd", *flags, hooks=[RecordsMomentum()], num_steps=5)
    # 0.95 and 0.85 are the default bounds of torch.
    assert momenta[0] == pytest.approx(0.95)
    assert min(momenta) == pytest.approx(0.85)
    assert momenta.index(min(momenta)) not in (0, 4)


def test_imdb_folder_and_its_archive_give_the_same_run(
    launch: Launch, train: Train, deep_encoder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "aclImdb"
    for split in ("train", "test"):
        for row in range(20):
            folder = root / split / ("pos" if row % 2 else "neg")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}_{row % 10}.txt").write_text(f"{split} {make_sentence(row)}<br />", encoding="utf-8")
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("unused", encoding="utf-8")
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as archive:
        archive.add(root, "aclImdb")
    cleaning = ("--cleaning=strip_html", "--validation_share=0.2")
    directory = tmp_path / "from_folder"
    flags = [f"--encoder={deep_encoder}", f"--data={root}", "--max_steps=3", *QUICK_RUN_FLAGS, *cleaning]
    launch([*flags, "--output_dir", directory], num_processes=1)
    folder_result = json.loads((directory / "result.json").read_text())
    archive_result = train("--data", tmp_path / "aclImdb_v1.tar.gz", *cleaning)
    assert folder_result["rows"] == archive_result["rows"] == {"train": 16, "validation": 4, "test": 20}
    assert folder_result["weights_sha256"] == archive_result["weights_sha256"]
    assert folder_result["metrics"] == archive_result["metrics"]


SEVERAL_RUNS = """
import sys
from research import RunConfig, run_experiment

encoder, multi_label_data, six_classes_data, output = sys.argv[1:]
shared = dict(encoder=encoder, max_length=32, batch_size=8, max_steps=3, num_threads=1, seed=3)
multi_label = dict(data=multi_label_data, dropout=0.0, head={"name": "mean", "dropout": 0.0}, mixed_precision="no")
r_drop = dict(data=six_classes_data, dropout=0.1, objective="r_drop", validation_share=0.2, mixed_precision="bf16")
run_experiment(RunConfig(**shared, **multi_label, output_dir=f"{output}/multi_label"))
run_experiment(RunConfig(**shared, **r_drop, output_dir=f"{output}/r_drop"))
"""


def test_script_makes_several_runs_in_the_same_two_processes(
    launch: Launch, train: Train, deep_encoder: Path, data_folder: DataFolder, tmp_path: Path
) -> None:
    script = tmp_path / "several_runs.py"
    script.write_text(SEVERAL_RUNS)
    launch(
        [deep_encoder, data_folder("multi_label"), data_folder("six_classes"), tmp_path],
        script=str(script),
        num_processes=2,
    )
    two_processes = json.loads((tmp_path / "multi_label" / "result.json").read_text())
    one_process = train(
        "--data", data_folder("multi_label"), "--seed=3", "--dropout=0", "--head=mean", "--head.dropout=0"
    )
    assert (one_process["world_size"], two_processes["world_size"]) == (1, 2)
    for split, metrics in one_process["metrics"].items():
        assert two_processes["metrics"][split] == pytest.approx(metrics, rel=1e-4)
    result = json.loads((tmp_path / "r_drop" / "result.json").read_text())
    assert (result["status"], result["world_size"], result["steps"]) == ("finished", 2, 3)
    assert np.isfinite(result["metrics"]["test"]["loss"])
    assert settings_of(tmp_path / "r_drop")["objective"] == {"name": "r_drop", "alpha": 1.0}

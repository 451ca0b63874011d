"""Export models to ONNX, and run them in ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version

from heads import HEADS
from research.export.agreement import LARGEST_ALLOWED
from research.export.labelled_texts import LabelledTexts
from research.export.onnx import INT8_MODEL, MODEL, OnnxExport, write_onnx
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from research.learning.metrics import compute_metrics
from tests.research.export import export_heads  # noqa: F401  # registers the heads
from tests.research.export.readme_code import run_readme
from tests.research.export.saved_models import EXPORTED_FAMILIES, tiny_saved_model

OWN_HEADS = [name for name in HEADS if HEADS[name].__module__.startswith("heads.")]
TABLE = [(head, family) for head in OWN_HEADS for family in EXPORTED_FAMILIES]
QUICK_TABLE = [
    ("cnn", "distilbert"),
    ("gru", "roberta"),
    ("scalar_mix", "modernbert"),
    ("last4", "deberta-v2"),
    ("latent", "distilbert"),
    ("mean_last", "qwen2"),
    ("last", "qwen2"),
    ("two_networks", "bert"),
]
TEXTS = ["one good film", "bad", "two films, 5 good and 7 bad ones", "a film", "9 good, 1 bad"]


def skip_if_not_traceable(family: str) -> None:
    """Skip a test if the installed version of PyTorch cannot trace encoders of this family."""
    if family == "deberta-v2" and Version(torch.__version__) < Version("2.13"):
        pytest.skip("torch.export traces DeBERTa-v2 for any length only since PyTorch 2.13")


@pytest.mark.parametrize(("head", "family"), QUICK_TABLE)
def test_heads_and_families_are_exported(head: str, family: str, tmp_path: Path) -> None:
    skip_if_not_traceable(family)
    assert write_onnx(tiny_saved_model(family, head), tmp_path).largest_difference <= LARGEST_ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize(("head", "family"), [case for case in TABLE if case not in QUICK_TABLE])
def test_every_head_is_exported_with_every_family(head: str, family: str, tmp_path: Path) -> None:
    skip_if_not_traceable(family)
    assert write_onnx(tiny_saved_model(family, head), tmp_path).largest_difference <= LARGEST_ALLOWED


def test_a_decoder_that_pads_on_the_left_is_exported(tmp_path: Path) -> None:
    saved = tiny_saved_model("qwen2", "attention", padding_side="left")
    assert write_onnx(saved, tmp_path).largest_difference <= LARGEST_ALLOWED


@pytest.fixture(scope="module")
def saved() -> SavedModel:
    """A model with an LSTM head."""
    return tiny_saved_model(head="lstm")


@pytest.fixture(scope="module")
def texts() -> LabelledTexts:
    """Texts with labels."""
    rows = [[text] for text in TEXTS * 8]  # more than one batch
    return LabelledTexts(rows, np.arange(len(rows)) % 3)


@pytest.fixture(scope="module")
def exported(
    saved: SavedModel, texts: LabelledTexts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, OnnxExport]:
    """The folder of the exported and quantised model, and the result of the export."""
    folder = tmp_path_factory.mktemp("lstm")
    return folder, write_onnx(saved, folder, int8=texts)


def test_int8_model_is_smaller_and_is_compared_with_the_original(
    saved: SavedModel, texts: LabelledTexts, exported: tuple[Path, OnnxExport]
) -> None:
    folder, export = exported
    assert export.int8 is not None
    assert (folder / INT8_MODEL).stat().st_size < 0.4 * (folder / MODEL).stat().st_size
    expected = compute_metrics(saved.task, Scorer(saved)(texts.rows), texts.labels)
    assert export.int8.before == pytest.approx(expected, abs=1e-6)
    assert export.int8.after["log_loss"] != export.int8.before["log_loss"]
    assert export.int8.after["log_loss"] == pytest.approx(export.int8.before["log_loss"], abs=0.1)
    assert json.loads((folder / "export.json").read_text())["int8"]["after"] == export.int8.after


def test_folder_contains_the_files_of_the_model_and_no_others(exported: tuple[Path, OnnxExport]) -> None:
    folder, _ = exported
    names = {path.name for path in folder.iterdir()}
    assert names >= {MODEL, INT8_MODEL, "config.json", "tokenizer.json", "README.md", "export.json"}
    assert not [name for name in names if name.startswith((".", "sym_shape")) or name.endswith(".prepared")]


def test_readme_predicts_as_midway_does(saved: SavedModel, exported: tuple[Path, OnnxExport]) -> None:
    expected = saved.predict(TEXTS)["prediction"].tolist()
    assert run_readme(exported[0], TEXTS) == expected


def test_an_operation_without_a_translation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bessel_j0") as error:
        write_onnx(tiny_saved_model(head="untranslated"), tmp_path)
    assert "\n" not in str(error.value)

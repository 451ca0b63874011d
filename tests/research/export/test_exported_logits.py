"""The comparison of an exported model with the trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from research.data.batches.tokens import tokenize_texts
from research.export.exported_logits import check_pipeline, sample_rows
from research.export.hub_folder import write_hub_folder
from research.export.native import write_native_folder
from research.inference.saved_model import SavedModel
from tests.research.data.batches.tokenizers_by_family import FAMILIES
from tests.research.export.saved_models import tiny_saved_model

PAIRS = {"text_columns": ["question", "answer"]}
WEIGHTS = "model.safetensors"
POSITIONS = "distilbert.embeddings.position_embeddings.weight"


def saved_model(family: str, max_length: int, truncation: str, **inputs: Any) -> SavedModel:
    """Return a tiny model whose logits depend noticeably on each token."""
    saved = tiny_saved_model(family, truncation=truncation, inputs=inputs)
    saved.model.config.max_input_length = max_length
    for parameter in saved.model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.3)
    return saved


def change_position(folder: Path, position: int) -> None:
    """Change the embedding of one position in an exported model."""
    weights = load_file(folder / WEIGHTS)
    weights[POSITIONS][position] *= -1
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("has_pairs", [False, True])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_sample_rows_have_the_requested_lengths(family: str, has_pairs: bool) -> None:
    saved = tiny_saved_model(inputs=PAIRS if has_pairs else {})
    object.__setattr__(saved, "tokenizer", FAMILIES[family]())
    requested = [7, 25, 62, 510]
    rows = sample_rows(saved, requested)
    num_tokens = [sum(map(len, tokenize_texts(saved.tokenizer, list(row), ""))) for row in rows]
    if not has_pairs:
        assert (rows.pop(), num_tokens.pop()) == (("",), 0)
    # A character may be several tokens, such as the four bytes of ByT5, so each text may lack a few.
    for number, length in zip(num_tokens, requested, strict=True):
        assert length - 3 * len(saved.inputs.text_columns) <= number <= length


@pytest.mark.parametrize(
    ("family", "max_length", "inputs"),
    [
        ("distilbert", 16, PAIRS),
        ("distilbert", 38, {}),
        ("deberta-v2", 8, {}),
    ],
)
def test_native_model_that_was_trained_with_both_ends_of_texts_is_compared_on_texts_that_fit(
    tmp_path: Path, family: str, max_length: int, inputs: dict[str, Any]
) -> None:
    saved = saved_model(family, max_length, "head_tail", **inputs)
    write_native_folder(saved, saved.model, tmp_path)
    assert check_pipeline(saved, saved.model, tmp_path, is_native=True) < 1e-5


def test_native_model_that_differs_only_in_its_last_position_is_refused(tmp_path: Path) -> None:
    saved = saved_model("distilbert", 16, "head_tail", **PAIRS)
    write_native_folder(saved, saved.model, tmp_path)
    change_position(tmp_path, 15)
    with pytest.raises(ValueError, match="differ by up to"):
        check_pipeline(saved, saved.model, tmp_path, is_native=True)


@pytest.mark.parametrize(("truncation", "inputs"), [("head", PAIRS), ("tail", {})])
def test_native_model_that_keeps_the_other_end_of_long_texts_is_refused(
    tmp_path: Path, truncation: str, inputs: dict[str, Any]
) -> None:
    saved = saved_model("distilbert", 16, truncation, **inputs)
    write_native_folder(saved, saved.model, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["truncation_side"] = {"head": "left", "tail": "right"}[truncation]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="differ by up to"):
        check_pipeline(saved, saved.model, tmp_path, is_native=True)


def test_model_with_code_that_truncates_differently_is_refused(tmp_path: Path) -> None:
    saved = saved_model("distilbert", 16, "head_tail")
    write_hub_folder(saved, saved.model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["truncation"] = "head"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="differ by up to"):
        check_pipeline(saved, saved.model, tmp_path)

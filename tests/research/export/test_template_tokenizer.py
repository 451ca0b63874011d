"""Exported tokenizers add the template by themselves, and give the inputs that the model was trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, ByT5Tokenizer

from research.data.batches.special_tokens import find_special_tokens
from research.export.template_tokenizer import build_template_tokenizer
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from tests.research.data.batches.trained_tokenizers import KINDS
from tests.research.export.saved_models import EXPORTED_FAMILIES, MAX_LENGTH, tiny_saved_model

SINGLE = "one: {text}\ngood:"
PAIR = "one: {text}\nbad {text_pair}\ngood:"


def model_with_template(template: str, family: str = "bert") -> SavedModel:
    """Return a model whose template contains words that occur in texts, too."""
    columns = ["first", "second"] if "{text_pair}" in template else ["text"]
    # Heads of the first token are refused on decoders.
    return tiny_saved_model(family, "mean", inputs={"template": template, "text_columns": columns})


@pytest.mark.parametrize("template", [SINGLE, PAIR], ids=["text", "pair"])
@pytest.mark.parametrize("family", [*EXPORTED_FAMILIES, *KINDS])
def test_saved_tokenizer_gives_the_inputs_of_the_model(family: str, template: str, tmp_path: Path) -> None:
    saved = model_with_template(template, family if family in EXPORTED_FAMILIES else "bert")
    if family in KINDS:
        saved = dataclasses.replace(saved, tokenizer=KINDS[family]())
        saved.model.resize_token_embeddings(len(saved.tokenizer))
    build_template_tokenizer(saved).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    pairs = [("one film", "two bad"), ("good", "one"), ("a, film 1" * 30, "(film)" * 20)]
    rows = [pair[: len(saved.inputs.text_columns)] for pair in pairs]
    scorer = Scorer(saved)
    saved.collator.truncation = "head"
    expected = scorer.collate(scorer.tokenize(rows), range(len(rows))).inputs
    assert find_special_tokens(tokenizer, pair=len(rows[0]) == 2) == saved.collator.special_tokens
    encoded = tokenizer(
        *map(list, zip(*rows, strict=True)),
        truncation=True,
        max_length=MAX_LENGTH,
        padding="max_length",
        return_tensors="pt",
    )
    assert encoded.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(encoded[name], values), name


def test_empty_text_has_no_tokens_in_the_saved_tokenizer() -> None:
    saved = dataclasses.replace(model_with_template("one {text}!"), tokenizer=KINDS["byte-level BPE"]())
    scorer = Scorer(saved)
    inputs = scorer.collate(scorer.tokenize([("",)]), [0]).inputs
    expected = inputs["input_ids"][0][inputs["attention_mask"][0] == 1].tolist()
    assert build_template_tokenizer(saved)("")["input_ids"] == expected


def test_tokenizer_in_python_is_refused() -> None:
    saved = dataclasses.replace(model_with_template(SINGLE), tokenizer=ByT5Tokenizer())
    with pytest.raises(ValueError, match="template and the tokenizer ByT5Tokenizer"):
        build_template_tokenizer(saved)


def test_different_spaces_are_refused_if_they_matter() -> None:
    saved = model_with_template("{text}\nbad {text_pair}")
    build_template_tokenizer(saved)  # spaces do not matter in WordPiece
    with pytest.raises(ValueError, match=r"same number of spaces.*\{text_pair\}"):
        build_template_tokenizer(dataclasses.replace(saved, tokenizer=KINDS["byte-level BPE"]()))

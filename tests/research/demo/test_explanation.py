"""Which tokens the model sees, and how much each counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CanineTokenizer

from heads import Head, register_head
from heads.masking import masked_mean
from research.demo.explanation import Explanation, explain
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from tests.research.data.batches.trained_tokenizers import KINDS
from tests.research.demo.conftest import BuildModel

LONG = "the film was very good and the plot was bad, dull, poor, cold and fine"
PAIR = ("the film was very good and the plot was warm", "a very dull film")


def kept_text_ids(saved: SavedModel, explanation: Explanation) -> list[int]:
    """Return the token ids of the kept characters of all texts, with the special tokens around them."""
    tokens = ["[CLS]"]
    for text in explanation.texts:
        tokens += [text.text[token.start : token.stop] for token in text.tokens if token.score is not None]
        tokens.append("[SEP]")
    ids: Any = saved.tokenizer.convert_tokens_to_ids(tokens)
    return list(ids)


@pytest.mark.parametrize("texts", [(LONG,), PAIR], ids=["text", "pair"])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_explain_keeps_the_tokens_that_the_model_sees(
    build_saved_model: BuildModel, truncation: str, texts: tuple[str, ...]
) -> None:
    saved = build_saved_model(truncation=truncation, pair=len(texts) == 2)
    scorer = Scorer(saved)
    inputs = scorer.collate(scorer.tokenize([texts]), [0]).inputs
    explanation = explain(saved, texts)
    seen = inputs["input_ids"][0][inputs["attention_mask"][0] == 1].tolist()
    assert kept_text_ids(saved, explanation) == seen
    scores = [token.score for text in explanation.texts for token in text.tokens]
    assert None in scores, "no token is truncated"
    np.testing.assert_allclose(explanation.logits, scorer([texts]), atol=1e-6)


@pytest.mark.parametrize("texts", [(LONG,), PAIR], ids=["text", "pair"])
def test_explain_scores_the_texts_and_not_the_template(build_saved_model: BuildModel, texts: tuple[str, ...]) -> None:
    template = "film {text} plot {text_pair} was" if len(texts) == 2 else "film {text} was"
    saved = build_saved_model(head="attention", pair=len(texts) == 2, template=template)
    scorer = Scorer(saved)
    explanation = explain(saved, texts)
    np.testing.assert_allclose(explanation.logits, scorer([texts]), atol=1e-6)
    assert explanation.texts[0].text.startswith("the film was")
    kept = [token for text in explanation.texts for token in text.tokens if token.score is not None]
    assert len(kept) == 12 - len(saved.collator.special_tokens)
    assert sum(token.score or 0.0 for token in kept) + explanation.special_score == pytest.approx(1)
    assert explanation.has_template


def test_explain_gives_positions_in_the_text_if_a_template_puts_a_space_before_it(
    build_saved_model: BuildModel,
) -> None:
    saved = build_saved_model(template="film: {text}", max_length=64)
    saved = dataclasses.replace(saved, tokenizer=KINDS["byte-level BPE"]())
    saved.model.encoder.resize_token_embeddings(500)
    (text,) = explain(saved, ["great film"]).texts
    assert "".join(text.text[token.start : token.stop] for token in text.tokens) in ("great film", "greatfilm")
    assert text.tokens[0].start == 0


@pytest.mark.parametrize("texts", [(LONG,), PAIR], ids=["text", "pair"])
def test_explain_returns_attention_weights_that_sum_to_one(
    build_saved_model: BuildModel, texts: tuple[str, ...]
) -> None:
    explanation = explain(build_saved_model(head="attention", pair=len(texts) == 2), texts)
    scores = [token.score or 0.0 for text in explanation.texts for token in text.tokens]
    assert explanation.is_attention
    assert min(scores) >= 0
    assert explanation.special_score > 0
    assert sum(scores) + explanation.special_score == pytest.approx(1)


@pytest.mark.parametrize("head", ["mean", "lstm"])
def test_explain_returns_the_derivative_with_respect_to_the_scale_of_an_embedding(
    build_saved_model: BuildModel, head: str
) -> None:
    saved = build_saved_model(head=head)
    saved.model.double()
    words = ["the", "film", "was", "very", "dull"]
    explanation = explain(saved, [" ".join(words)])
    assert not explanation.is_attention
    assert explanation.output == int(explanation.logits.argmax())
    embeddings = saved.model.get_parameter("encoder.embeddings.word_embeddings.weight")

    def logit(word: str, scale: float) -> float:
        row = saved.tokenizer.get_vocab()[word]
        original = embeddings[row].clone()
        with torch.no_grad():
            embeddings[row] *= scale
            inputs = saved.tokenizer([" ".join(words)], return_tensors="pt")
            result: float = saved.model(**inputs).logits[0, explanation.output].item()
            embeddings[row] = original
        return result

    # Each word occurs once, so scaling its embedding changes the logit by gradient x input, to first order.
    step = 1e-4
    expected = [(logit(word, 1 + step) - logit(word, 1 - step)) / (2 * step) for word in words]
    scores = [token.score for token in explanation.texts[0].tokens]
    assert max(abs(value) for value in expected) > 1e-3
    assert scores == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_explain_shows_the_tokens_of_a_tokenizer_without_positions(build_saved_model: BuildModel) -> None:
    saved = build_saved_model(max_length=6)
    tokenizer = CanineTokenizer()
    assert not tokenizer.is_fast
    saved.model.encoder.resize_token_embeddings(60_000)
    saved = dataclasses.replace(saved, tokenizer=tokenizer)
    assert tokenizer("ab", add_special_tokens=False)["input_ids"] == [97, 98]
    explanation = explain(saved, ["abcdefg"])
    assert not explanation.has_positions
    assert explanation.texts[0].text == "a b c d e f g"
    shown = [(token.start, token.stop, token.score is not None) for token in explanation.texts[0].tokens]
    assert shown == [(2 * index, 2 * index + 1, index < 2 or index > 4) for index in range(7)]


@register_head("weighted_for_demo")
class WeightedHead(Head):
    """A head that returns `weights` as its token weights."""

    weights: Any = None

    def __init__(self, encoder: Any, num_labels: int) -> None:
        super().__init__()
        self.out = torch.nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(masked_mean(hidden_states, attention_mask))

    def token_weights(self, hidden_states: Tensor, attention_mask: Tensor) -> Any:
        return self.weights if self.weights is not None else attention_mask / attention_mask.sum(dim=1, keepdim=True)


def test_explain_uses_the_token_weights_of_your_own_head(build_saved_model: BuildModel) -> None:
    saved = build_saved_model(head="weighted_for_demo")
    explanation = explain(saved, ["the film"])
    assert [token.score for token in explanation.texts[0].tokens] == pytest.approx([1 / 4] * 2)  # with [CLS] and [SEP]
    saved.model.head.weights = torch.ones(3)
    with pytest.raises(ValueError, match=r"shape \[1, 12\].* got \[3\]"):
        explain(saved, ["the film"])


@pytest.mark.parametrize("head", ["mean", "attention", "scalar_mix"])
def test_explain_scores_the_tokens_of_all_windows(build_saved_model: BuildModel, head: str) -> None:
    saved = build_saved_model(head=head, max_length=8, long_texts="windows", stride=4)
    assert saved.collator.count_windows(len(LONG.split())) > 2
    explanation = explain(saved, [LONG])
    scores = [token.score for token in explanation.texts[0].tokens]
    assert None not in scores
    assert all(scores)
    np.testing.assert_allclose(explanation.logits, Scorer(saved)([[LONG]]), atol=1e-6)


def test_explain_of_windows_sums_to_the_logit_of_a_linear_head(build_saved_model: BuildModel) -> None:
    saved = build_saved_model(head="mean", max_length=8, long_texts="windows", stride=4)
    explanation = explain(saved, [LONG])
    total = sum(token.score or 0.0 for token in explanation.texts[0].tokens) + explanation.special_score
    bias = saved.model.get_parameter("head.out.bias")[explanation.output].item()
    assert total + bias == pytest.approx(float(explanation.logits[0, explanation.output]), abs=1e-5)

"""Inputs with a template have the tokens of the rendered text, and only the texts are truncated."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.data.batches.tokens import spaces_before_texts, tokenize_texts
from research.settings.template import Template, parse_template
from research.tasks.base import TASKS
from tests.research.data.batches.trained_tokenizers import KINDS, byte_level

TASK = TASKS["single_label"](("no", "yes"))
TEXTS = ("great", "a bad film, not one of 10", "Premise", "7 of 10", "(very dull)", "! bad", "is it great?")
TEMPLATES = (
    r"Review: {text}\nSentiment:",
    r"{text}\nSentiment:",
    "Question: is it great? {text} Answer:",
    "Review: {text}",
    "{text}!",
    "Review:  {text} (very",
)


def collate(
    tokenizer: PreTrainedTokenizerBase, template: str, *texts: str, max_length: int = 200, truncation: str = "head"
) -> list[int]:
    """Return the token ids of one row, without padding."""
    parsed = parse_template(template)
    collator = Collator(
        tokenizer,
        TASK,
        max_length=max_length,
        truncation=truncation,  # type: ignore[arg-type]
        pair=len(texts) == 2,
        template=parsed,
    )
    columns = {
        name: tokenize_texts(tokenizer, [text], spaces)
        for name, text, spaces in zip(("input_ids", "pair_ids"), texts, spaces_before_texts(parsed), strict=False)
    }
    inputs = collator({**columns, "id": [0], "label": [None]}).inputs
    ids: list[int] = inputs["input_ids"][0][inputs["attention_mask"][0] == 1].tolist()
    return ids


def parsed(template: str) -> Template:
    result = parse_template(template)
    assert result is not None
    return result


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_tokens_are_those_of_the_rendered_text(
    kind: str, template: str, minilm_tokenizer: PreTrainedTokenizerBase
) -> None:
    tokenizer = minilm_tokenizer if kind == "minilm" else KINDS[kind]()
    for text in TEXTS:
        rendered = template.replace(r"\n", "\n").format(text=text)
        assert collate(tokenizer, template, text) == tokenizer(rendered)["input_ids"], rendered


@pytest.mark.parametrize(
    ("kind", "template", "text"),
    [
        ("byte-level BPE", "a {text}.", "(very dull)"),  # ")." is one token
        ("SentencePiece unigram", "Review:{text}", "great"),  # no space before the text, but a token with a space
        ("byte-level BPE", r"Review:\n\n{text}", "great"),  # two line breaks are one token unless a word follows
    ],
)
def test_tokens_may_differ_where_parts_and_texts_touch(kind: str, template: str, text: str) -> None:
    """The page about templates documents these cases."""
    tokenizer = KINDS[kind]()
    rendered = template.replace(r"\n", "\n").format(text=text)
    ids, whole = collate(tokenizer, template, text), tokenizer(rendered)["input_ids"]
    assert ids != whole
    assert "".join(str(tokenizer.decode(ids)).split()) == "".join(str(tokenizer.decode(whole)).split())


def test_pair_without_special_tokens_has_the_tokens_of_the_rendered_text() -> None:
    tokenizer = byte_level(adds_special=False)
    template = "Premise: {text}\nHypothesis: {text_pair}\nEntailment:"
    rendered = template.format(text="the plot was dull", text_pair="a bad plot")
    assert collate(tokenizer, template, "the plot was dull", "a bad plot") == tokenizer(rendered)["input_ids"]


def test_tokenizing_parts_separately_would_give_other_tokens() -> None:
    tokenizer = byte_level()
    parts = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in ("Review: ", "great")]
    whole = tokenizer("Review: great", add_special_tokens=False)["input_ids"]
    assert [*parts[0], *parts[1]] != whole
    assert collate(tokenizer, "Review: {text}", "great")[1:-1] == whole


def test_pair_keeps_the_special_tokens_between_texts(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    ids = collate(minilm_tokenizer, "Premise: {text} Hypothesis: {text_pair} Entailment:", "good", "bad film")
    assert minilm_tokenizer.convert_ids_to_tokens(ids) == [
        *("[CLS]", "premise", ":", "good", "[SEP]", "hypothesis", ":", "bad", "film"),
        *minilm_tokenizer.tokenize("Entailment:"),
        "[SEP]",
    ]


def test_literal_parts_have_the_token_type_of_the_neighbouring_text(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    template = parsed("one {text} two {text_pair} three four")
    collator = Collator(minilm_tokenizer, TASK, max_length=32, truncation="head", pair=True, template=template)
    good, bad = (minilm_tokenizer.convert_tokens_to_ids([word]) for word in ("good", "bad"))
    inputs = collator({"input_ids": [good], "pair_ids": [bad], "id": [0], "label": [None]}).inputs
    # [CLS] one good [SEP] two bad three four [SEP]
    assert inputs["token_type_ids"][0][inputs["attention_mask"][0] == 1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert collator.num_template_tokens == 4
    assert len(collator.special_tokens) == 7


@pytest.mark.parametrize(("truncation", "kept"), [("head", "a b c d"), ("tail", "e f g h"), ("head_tail", "a b g h")])
def test_only_the_text_is_truncated(truncation: str, kept: str, minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    ids = collate(minilm_tokenizer, "one: {text} two:", "a b c d e f g h", max_length=2 + 4 + 4, truncation=truncation)
    assert minilm_tokenizer.decode(ids) == f"[CLS] one : {kept} two : [SEP]"


def test_template_must_leave_room_for_a_text(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(collate(minilm_tokenizer, "one two {text} three", "good bad", max_length=6)) == 6
    with pytest.raises(ValueError, match=r"at least 6.* 2 special tokens and the template 3 tokens to 1 text; got 5"):
        collate(minilm_tokenizer, "one two {text} three", "good bad", max_length=5)


def test_empty_text_has_no_tokens() -> None:
    tokenizer = byte_level()
    assert collate(tokenizer, "Review: {text}!", "") == tokenizer("Review:!")["input_ids"]


def test_stored_hidden_states_depend_on_the_template(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    """Their fingerprint contains these settings, and not only the tokens of the texts."""
    settings = [
        Collator(
            minilm_tokenizer, TASK, max_length=32, truncation="head", pair=False, template=parse_template(template)
        ).settings()
        for template in (None, "{text}", "one {text}", "two {text}")
    ]
    assert settings[0] == settings[1]
    assert len({str(each) for each in settings}) == 3


def test_places_of_tokens_skip_the_template(minilm_tokenizer: PreTrainedTokenizerBase) -> None:
    template = parsed("one two {text} three {text_pair}")
    collator = Collator(minilm_tokenizer, TASK, max_length=32, truncation="head", pair=True, template=template)
    ids = [minilm_tokenizer.convert_tokens_to_ids(["good", "film"]), minilm_tokenizer.convert_tokens_to_ids(["bad"])]
    inputs = collator({"input_ids": [ids[0]], "pair_ids": [ids[1]], "id": [0], "label": [None]}).inputs
    for expected, (_, place) in zip(ids, collator.locate_tokens([2, 1]), strict=True):
        assert torch.equal(inputs["input_ids"][0][place], torch.tensor(expected))

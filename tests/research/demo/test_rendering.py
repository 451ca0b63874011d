"""Predictions as HTML."""

from __future__ import annotations

import base64
import re

import numpy as np
import pandas as pd
import pytest

from research.demo.explanation import ExplainedText, Explanation, Token
from research.demo.rendering import render_scores, render_table, render_tokens
from research.tasks.base import TASKS

SINGLE = TASKS["single_label"](("<i>no</i>", "yes"))
SCORE = TASKS["regression"](("stars",))


def explanation(
    *tokens: Token, text: str, is_attention: bool = False, output: int = 1, has_template: bool = False
) -> Explanation:
    texts = (ExplainedText(text, tokens),)
    return Explanation(
        np.zeros((1, 2)), texts, is_attention, output, 0.25, has_positions=True, has_template=has_template
    )


def bars_in(page: str) -> list[tuple[str, str, str]]:
    """Return the class, the label and the value of each bar."""
    return re.findall(r'<li class="(.*?)"><span class="label">(.*?)</span>.*?class="value">(.*?)</span>', page)


def test_scores_of_single_label_model_are_bars_by_probability() -> None:
    page = render_scores(SINGLE, np.log([[0.25, 0.75]]))
    assert bars_in(page) == [("", "yes", "75.0%"), ("", "&lt;i&gt;no&lt;/i&gt;", "25.0%")]
    assert "<strong>yes</strong>" in page
    assert "threshold" not in page


@pytest.mark.parametrize(
    ("thresholds", "predicted"), [((), ["a", "b"]), ((0.95, 0.5, 0.1), ["b", "c"]), ((0.99, 0.99, 0.99), [])]
)
def test_scores_of_multi_label_model_show_thresholds(thresholds: tuple[float, ...], predicted: list[str]) -> None:
    probabilities = np.array([[0.9, 0.8, 0.2]])
    task = TASKS["multi_label"](("a", "b", "c"), thresholds=thresholds)
    page = render_scores(task, np.log(probabilities / (1 - probabilities)))
    assert bars_in(page) == [
        ("predicted" if name in predicted else "", name, value)
        for name, value in (("a", "90.0%"), ("b", "80.0%"), ("c", "20.0%"))
    ]
    shown = [float(value) for value in re.findall(r'title="threshold (.*?)"', page)]
    assert shown == list(thresholds or (0.5, 0.5, 0.5))
    assert f"<strong>{', '.join(predicted) or 'none'}</strong>" in page


def test_scores_of_regression_model_are_a_number() -> None:
    page = render_scores(SCORE, np.array([[3.25]]))
    assert "<strong>3.25</strong>" in page
    assert "stars" in page
    assert bars_in(page) == []


def test_tokens_are_coloured_by_sign_and_size() -> None:
    tokens = (Token(0, 3, 0.5), Token(4, 7, -0.25), Token(8, 11, None))
    page = render_tokens(explanation(*tokens, text="<b> bad cut"), SINGLE)
    coloured = re.findall(r'<span class="token (.*?)" style="--strength: (.*?)%" title="(.*?)">(.*?)</span>', page)
    assert coloured == [("for", "65", "+0.5000", "&lt;b&gt;"), ("against", "32", "-0.2500", "bad")]
    assert '<span class="truncated">cut</span>' in page
    assert "gradient x input: speaks for yes" in page
    assert "the model sees 2 of 3 tokens" in page


def test_legend_names_attention_weights_and_the_weight_of_special_tokens() -> None:
    page = render_tokens(explanation(Token(0, 4, 0.75), text="good", is_attention=True), SINGLE)
    assert "attention weights of the head" in page
    assert "25% of the weight is on special tokens, which" in page
    assert "gradient" not in page
    assert "truncated" not in page


def test_legend_names_the_template() -> None:
    shown = explanation(Token(0, 4, 0.75), text="good", is_attention=True, has_template=True)
    assert "25% of the weight is on special tokens and the template" in render_tokens(shown, SINGLE)


def test_legend_of_regression_model_names_the_score() -> None:
    page = render_tokens(explanation(Token(0, 4, 0.75), text="good", output=0), SCORE)
    assert "raises stars" in page
    assert "lowers stars" in page


def test_table_escapes_texts_and_can_be_downloaded() -> None:
    table = pd.DataFrame({"text": ['<b>"x"</b>, y'], "prediction": ["yes"], "score_yes": [0.75]})
    page = render_table(table)
    assert "<b>" not in page
    assert "0.7500" in page
    data = re.search(r'href="data:text/csv;charset=utf-8;base64,(.*?)"', page)
    assert data is not None
    assert base64.b64decode(data[1]).decode() == 'text,prediction,score_yes\n"<b>""x""</b>, y",yes,0.75\n'

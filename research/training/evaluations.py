"""What the model makes of each split, evaluated again only if its weights have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.learning.predictions import Predictions
from research.system.checksums import checksums
from research.system.user_code import During
from research.training.evaluation import evaluate

if TYPE_CHECKING:
    from research.training.run import TrainingRun


class Evaluations:
    """The evaluations of a run; keeps the predictions of each split, with checksums of the weights that made them."""

    def __init__(self) -> None:
        self._predictions: dict[str, Predictions] = {}
        self._checksums: dict[str, dict[str, int]] = {}

    def evaluate(self, run: TrainingRun, split: str) -> Predictions:
        """Evaluate the model as it is on a split, between hooks' before_evaluate and after_evaluate.

        Args:
            run: the run.
            split: train, validation or test.
        Raises:
            Interrupted: on the main process, if a signal comes when no boundary is left to hear it; the rest exit.
        """
        run.hooks.call(run, "before_evaluate", split)
        with During(f"in the evaluation of {split} after step {run.clock.step}"):
            predictions = evaluate(run, split, lambda: _leave_if_interrupted(run))
        self._predictions[split] = predictions
        self._checksums[split] = found = checksums(run.encoder_with_head)
        if run.batches.features is not None:
            run.batches.features.check(found)
        run.hooks.call(run, "after_evaluate", split, predictions.metrics)
        return predictions

    def latest(self, run: TrainingRun, split: str) -> Predictions:
        """Return the predictions of the model as it is: the latest ones if its weights are unchanged since."""
        if split in self._predictions and self._checksums[split] == checksums(run.encoder_with_head):
            return self._predictions[split]
        return self.evaluate(run, split)

    def forget(self) -> None:
        """Drop all predictions: the same weights may give others from here on."""
        self._predictions.clear()


def _leave_if_interrupted(run: TrainingRun) -> None:
    """End the run if a signal came after its last step, when only evaluations are left."""
    if not run.requests.takes_edits:
        run.interruption.poll_everywhere()
        run.interruption.leave_if_agreed(run.clock)

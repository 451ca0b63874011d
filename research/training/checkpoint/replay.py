"""Apply the edits of a journal again, in a resumed run or a fork. The weights are loaded afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from research.edits.apply import apply_edit
from research.edits.base import EditError, touched_by
from research.edits.records import Record
from research.model.selectors import frozen_modules

if TYPE_CHECKING:
    from research.model.encoder_with_head import EncoderWithHead
    from research.training.run import TrainingRun


def replay(run: TrainingRun, records: Sequence[Record], trainable: Collection[str] | None) -> None:
    """Apply the edits of a journal again, restore which parameters are trainable, and complete the model's wrappers.

    During each edit, the clock is set back to the position at which the edit was first applied. Messages and logged
    values of the edits are dropped, since they appeared when the edits were first applied.

    Args:
        run: the run, before its weights are loaded.
        records: the journal.
        trainable: names of the parameters that were trainable when the checkpoint was saved; None if the checkpoint
            does not contain these names.
    Raises:
        EditError: if an edit gives a different number of parameters than the first time.
    """
    touches = touched_by(record.request for record in records if record.skipped is None)
    run.wrapping.begin_edits(touches, run.optimizer)
    with run.applied_edits.replaying():
        for record in records:
            if record.skipped is None:
                run.new_parameters.clear()
                with run.clock.rewound_to(record.step, record.clock):
                    replayed = apply_edit(run, record.request)
                _check_counts(record, replayed, with_trainable=trainable is None)
            run.applied_edits.journal.append(record)
    if trainable is not None and (changed := _restore_trainable(run.encoder_with_head, trainable)):
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        run.print(
            "After the edits were applied again, some parameters that were frozen in the checkpoint were trainable, or "
            f"the reverse. They were set as in the checkpoint: {listed}."
        )
    run.frozen = frozen_modules(run.encoder_with_head)
    run.wrapping.wrap(run.optimizer)


def _check_counts(original: Record, replayed: Record, *, with_trainable: bool) -> None:
    """Check that an edit gave the same number of parameters as the first time.

    Args:
        original: the record of the edit in the checkpoint's journal.
        replayed: the record of the edit when applied again.
        with_trainable: whether to compare the numbers of trainable parameters too; not needed if `replay` restores
            which parameters are trainable.
    Raises:
        EditError: if the numbers differ; names the edit.
    """
    counts = [("parameters", original.parameters[1], replayed.parameters[1])]
    if with_trainable:
        counts.append(("trainable parameters", original.trainable_parameters[1], replayed.trainable_parameters[1]))
    for what, before, now in counts:
        if before != now:
            raise EditError(
                f"After step {original.step}, {original.request} (requested by {original.requested_by}) left "
                f"{before:,} {what}; applied again, it left {now:,}. The result of an edit must not depend on the "
                "values of weights, since a resumed run or a fork applies the edit before it loads the weights."
            )


def _restore_trainable(model: EncoderWithHead, trainable: Collection[str]) -> list[str]:
    """Freeze and unfreeze parameters by name; return the changed names, each with its new state."""
    changed = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad != (name in trainable):
            parameter.requires_grad_(name in trainable)
            changed.append(f"{name} ({'trainable' if parameter.requires_grad else 'frozen'})")
    return changed

"""A resumed run, or a fork, applies the edits of its journal again; the values of its weights are loaded afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from research.edits.apply import apply_edit
from research.edits.base import EditError
from research.edits.records import Record
from research.training.boundary import fit_wrappers

if TYPE_CHECKING:
    from research.model.encoder_with_head import EncoderWithHead
    from research.training.run import TrainingRun


def replay(run: TrainingRun, records: Sequence[Record], trainable: Collection[str] | None) -> None:
    """Apply the edits of a journal again, on a fresh run.

    The clock reads what it read when each edit was applied. What the edits log and say was logged and said then.

    Args:
        run: the run, before its weights are loaded.
        records: the journal.
        trainable: names of the parameters that trained when the checkpoint was saved; None if it does not know.
    Raises:
        EditError: if an edit does not give the result that it gave then.
    """
    with run.applied_edits.replaying():
        for record in records:
            if record.skipped is None:
                run.fresh.clear()
                with run.clock.rewound_to(record.step, record.clock):
                    again = apply_edit(run, record.request)
                _compare(record, again, with_trainable=trainable is None)
            run.applied_edits.journal.append(record)
    if trainable is not None and (changed := _restore_trainable(run.encoder_with_head, trainable)):
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        run.print(
            f"Built again, the model would train other parameters than the checkpoint's. Restored as saved: {listed}."
        )
    fit_wrappers(run, [record.request for record in records])


def _compare(then: Record, again: Record, *, with_trainable: bool) -> None:
    """Refuse an edit that gave another number of parameters than before.

    Raises:
        EditError: naming it.
    """
    counts = [("parameters", then.parameters[1], again.parameters[1])]
    if with_trainable:
        counts.append(("trainable parameters", then.trainable_parameters[1], again.trainable_parameters[1]))
    for what, before, now in counts:
        if before != now:
            raise EditError(
                f"After step {then.step}, {then.request} (asked for by {then.asked_by}) left {before:,} {what}; "
                f"applied again, it left {now:,}. An edit must give the same result on a model with other values, "
                "since a resumed run or a fork applies it before it loads the weights."
            )


def _restore_trainable(model: EncoderWithHead, trainable: Collection[str]) -> list[str]:
    """Freeze and unfreeze parameters by name; return what changed, each with what it is now."""
    changed = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad != (name in trainable):
            parameter.requires_grad_(name in trainable)
            changed.append(f"{name} ({'trains' if parameter.requires_grad else 'frozen'})")
    return changed

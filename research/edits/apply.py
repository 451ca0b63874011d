"""Apply one edit to a run or a rehearsal."""

from __future__ import annotations

from research.edits.base import EDITS, Editable, EditError, seeded
from research.edits.records import EditRequest, Record
from research.learning.optimizer import regroup
from research.model.families import model_blocks
from research.model.parameters import count_parameters, trainable_parameters
from research.system.errors import is_user_facing, one_line
from research.system.user_code import ErrorsAttributedTo


def apply_edit(run: Editable, request: EditRequest) -> Record:
    """Apply one edit to a run or a rehearsal, and return its record for the journal.

    Raises:
        EditError: if the edit cannot be applied.
    """
    model = run.encoder_with_head
    counts_before = count_parameters(model)
    number = len(run.journal) + 1
    run.applying = request
    try:
        with (
            seeded(run.config.seed, number, model.device),
            ErrorsAttributedTo(f"edit '{request.name}' ({request.requested_by})", EDITS[request.name]),
        ):
            EDITS[request.name](run, **request.arguments)
    except ValueError as error:
        if not is_user_facing(error):
            raise
        raise EditError(
            f"After step {run.clock.step}, {request} (requested by {request.requested_by}): {one_line(error)}"
        ) from error
    finally:
        run.applying = None
    regroup(run.optimizer, run.optimizer_kind, model_blocks(model.encoder, model.head), run.new_parameters)
    # Each is a pair: the number before and after the edit.
    trainable, all_parameters = zip(counts_before, count_parameters(model), strict=True)
    return Record.of(
        request,
        number,
        now=run.clock,
        trainable=trainable,
        parameters=all_parameters,
        clock=run.clock.state_dict(),
    )


def check_has_trainable_parameters(run: Editable) -> None:
    """Check that the model has trainable parameters.

    Raises:
        EditError: if every parameter is frozen.
    """
    if not trainable_parameters(run.encoder_with_head):
        raise EditError(
            f"After step {run.clock.step} nothing is left to train: every parameter is frozen. Keep some parameters "
            "trainable, or end the run there with --max_steps."
        )

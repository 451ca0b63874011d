"""Apply one edit to a run or a rehearsal."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from research.edits.base import EDITS, Editable, EditError, seeded
from research.edits.records import EditRequest, Record
from research.learning.optimizer import regroup
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import model_blocks
from research.model.parameters import count_parameters, trainable_parameters
from research.model.shared_parameters import shared_parameters
from research.system.errors import is_user_facing, one_line
from research.system.user_code import ErrorsAttributedTo


def apply_edit(run: Editable, request: EditRequest) -> Record:
    """Apply one edit to a run or a rehearsal, and return its record for the journal.

    Raises:
        EditError: if the edit cannot be applied.
    """
    model = run.encoder_with_head
    counts_before = count_parameters(model)
    shared_before = {model.get_parameter(name) for name in shared_parameters(model, "")}
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
        raise EditError(describe_failed_edit(run, request, one_line(error))) from error
    finally:
        run.applying = None
    if newly_shared := sorted(_names_of_shared(model, except_for=shared_before)):
        shared = ", ".join(newly_shared[:3])
        raise EditError(
            describe_failed_edit(
                run,
                request,
                f"it lets several modules share parameters ({shared}), which a saved model cannot describe. Parameters "
                "can be shared within a head.",
            )
        )
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


def describe_failed_edit(run: Editable, request: EditRequest, reason: str) -> str:
    """Return the message about an edit that cannot be applied."""
    return f"After step {run.clock.step}, {request} (requested by {request.requested_by}): {reason}"


def _names_of_shared(model: EncoderWithHead, except_for: Collection[nn.Parameter]) -> set[str]:
    """Return the names of shared parameters of a model that its config does not declare.

    Args:
        model: the model.
        except_for: parameters that are not returned.
    """
    undeclared = shared_parameters(model, "").keys() - model.all_tied_weights_keys.keys()
    return {name for name in undeclared if model.get_parameter(name) not in except_for}


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

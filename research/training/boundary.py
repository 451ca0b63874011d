"""Between two steps: the processes agree on what was asked for, and edits are applied on all of them or on none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object

from research.edits.base import EDITS, Editable, EditError, EditRequest, digest, random_numbers_of
from research.learning.optimizer import regroup
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import model_blocks
from research.model.head_check import PlannedHead
from research.model.selectors import frozen_modules
from research.records import journal_file
from research.system.errors import is_for_the_user, one_line
from research.system.user_code import CodeOf
from research.training import audit
from research.training.wrapping import rewrap, trainable_parameters

if TYPE_CHECKING:
    from research.training.run import Run


def settle(run: Run) -> None:
    """Agree with the other processes, and apply the edits that were asked for; called on every process."""
    requests = run.take_requests()
    _exchange_control_message(run, requests)
    if requests:
        apply_edits(run, requests)


def check_replicas(run: Run) -> None:
    """Compare the processes' models, which hooks may have written into; called on every process.

    Raises:
        AuditError: on every process, naming what differs.
    """
    accelerator = run.accelerator
    audit.check_replicas(run.encoder_with_head, run.optimizer, accelerator.gather, accelerator.num_processes)


def _exchange_control_message(run: Run, requests: list[EditRequest]) -> None:
    """Tell each other what was asked for: stops and signals count from any process, edits must be asked for on all.

    Raises:
        EditError: on every process, if they were asked for different edits.
    """
    if run.accelerator.num_processes == 1:
        run.stop_reason = run.stop_reason or run.asked_to_stop
        return
    own = torch.tensor([[run.asked_to_stop is not None, run.signal, digest(requests)]], dtype=torch.int64)
    messages = run.accelerator.gather(own.to(run.accelerator.device))
    stops, signals, digests = messages.T.tolist()
    run.signal = max(signals)
    if any(stops):
        run.stop_reason = next(reason for reason in gather_object([run.asked_to_stop]) if reason)
    if len(set(digests)) > 1:
        asked = gather_object([", ".join(map(str, requests)) or "nothing"])
        listed = "; ".join(f"process {rank}: {text}" for rank, text in enumerate(asked))
        raise EditError(
            f"All processes must ask for the same edits, after step {run.clock.step} they did not: {listed}."
        )


def apply_edits(run: Run, requests: list[EditRequest]) -> None:
    """Apply edits, make wrappers and optimizer follow, audit, and write the journal; called on every process.

    Raises:
        EditError: on every process, if an edit fails on any.
        AuditError: on every process, if the audit finds a difference.
    """
    before = len(run.journal)
    head = run.encoder_with_head.head
    error: Exception | None = None
    run.fresh.clear()
    try:
        audit.check_unchanged(run.encoder_with_head, run.wrapped)
        for request in requests:
            run.journal.append(apply_edit(run, request))
        refuse_nothing_to_train(run)
    except Exception as caught:  # it is raised below, once the others know of it
        error = caught
    model, accelerator = run.encoder_with_head, run.accelerator
    _raise_on_all(run, error)
    if model.head is not head:
        run.head_check.check([PlannedHead.of(model)], run.say)
    check_replicas(run)  # before the wrappers are made anew, which could hide a difference
    fit_wrappers(run, requests)
    error = None
    try:
        audit.check_optimizer(model, run.optimizer)
        audit.check_reducer(model, run.wrapped, accelerator.num_processes)
        audit.check_rates(run.optimizer, run.schedule)
        audit.check_compiled(model, run.wrapped)
    except audit.AuditError as caught:
        error = caught
    _raise_on_all(run, error)
    run.predictions.clear()  # those of the model before
    run.gradients_checked = False
    if run.features is not None:
        run.give_features_up(run.features.watch.reason_of_edits(run))
    run.applied = run.journal[before:]
    if run.is_main:
        journal_file.write(run, run.applied)
    run.call("after_edits")


def apply_edit(run: Editable, request: EditRequest) -> journal_file.Record:
    """Apply one edit to a run, or to the rehearsal of one, and return what the journal says of it.

    Raises:
        EditError: if it cannot be applied.
    """
    model = run.encoder_with_head
    before = count_parameters(model)
    number = len(run.journal) + 1
    run.applying = request
    try:
        with (
            random_numbers_of(run.config.seed, number, model.device),
            CodeOf(f"edit '{request.name}' ({request.asked_by})", EDITS[request.name]),
        ):
            EDITS[request.name](run, **request.arguments)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        raise EditError(
            f"After step {run.clock.step}, {request} (asked for by {request.asked_by}): {one_line(error)}"
        ) from error
    finally:
        run.applying = None
    regroup(run.optimizer, model_blocks(model.encoder, model.head), run.fresh)
    trainable, all_parameters = (list(pair) for pair in zip(before, count_parameters(model), strict=True))
    clock = run.clock
    return journal_file.Record(
        number,
        clock.step,
        round(clock.epochs_done, 6),
        request.name,
        request.arguments,
        request.asked_by,
        trainable,
        all_parameters,
        request.entry,
        clock=clock.state_dict(),
    )


def fit_wrappers(run: Run, requests: Sequence[EditRequest]) -> None:
    """Make what lies around the model fit it as it is after some edits."""
    if run.needs_wrapping(requests):
        run.wrapped = rewrap(run.accelerator, run.wrapped, run.encoder_with_head, run.compile_backend)
    run.frozen = frozen_modules(run.encoder_with_head)


def refuse_nothing_to_train(run: Editable) -> None:
    """Refuse a model of which everything is frozen.

    Raises:
        EditError: if nothing is left to train.
    """
    if not trainable_parameters(run.encoder_with_head):
        raise EditError(
            f"After step {run.clock.step} nothing is left to train: every parameter is frozen. Leave something "
            "unfrozen, or end the run with --max_steps."
        )


def count_parameters(model: EncoderWithHead) -> tuple[int, int]:
    """Return how many numbers of a model train, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


def _raise_on_all(run: Run, error: Exception | None) -> None:
    """Raise an error on every process if there is one on any, so that none waits for another for ever."""
    messages = [None if error is None else f"{type(error).__name__}: {one_line(error)}"]
    if run.accelerator.num_processes > 1:
        messages = gather_object(messages)
    if error is not None:
        raise error
    for rank, message in enumerate(messages):
        if message is not None:
            raise EditError(f"Process {rank} could not apply the edits after step {run.clock.step}: {message}")

"""Boundaries, at which requested edits are applied.

There is a boundary before the first step, after each step, and at the start and the end of each epoch. At a boundary,
the processes agree on the requested edits, and apply them on all processes or on none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object

from research.edits.apply import apply_edit, check_has_trainable_parameters
from research.edits.base import EDITS_WITHOUT_PARAMETER_CHANGES, EditError, hash_requests
from research.edits.records import EditRequest, Record
from research.model.head_check import PlannedHead
from research.model.selectors import frozen_modules
from research.system.errors import one_line
from research.training import audit
from research.training.wrapping import rewrap

if TYPE_CHECKING:
    from research.training.run import TrainingRun


def apply_pending_edits(run: TrainingRun) -> None:
    """Agree with the other processes on stops, signals and edits, then apply the edits; called on every process."""
    requests = run.requests.take()
    _exchange_control_message(run, requests)
    if requests:
        apply_edits(run, requests)


def check_replicas(run: TrainingRun) -> None:
    """Check that all processes hold the same model, since hooks may have changed it; called on every process.

    Raises:
        AuditError: on every process, if the processes differ; names what differs.
    """
    accelerator = run.accelerator
    audit.check_replicas(run.encoder_with_head, run.optimizer, accelerator.gather, accelerator.num_processes)


def _exchange_control_message(run: TrainingRun, requests: list[EditRequest]) -> None:
    """Exchange stops, signals and requested edits. One process can stop the run, but all must request the same edits.

    Raises:
        EditError: on every process, if the processes requested different edits.
    """
    if run.accelerator.num_processes == 1:
        run.stop_reason = run.stop_reason or run.requested_stop_reason
        return
    message = torch.tensor(
        [[run.requested_stop_reason is not None, run.signal, hash_requests(requests)]], dtype=torch.int64
    )
    messages = run.accelerator.gather(message.to(run.accelerator.device))
    stops, signals, digests = messages.T.tolist()
    run.interruption.signal = max(signals)
    if any(stops):
        run.stop_reason = next(reason for reason in gather_object([run.requested_stop_reason]) if reason)
    if len(set(digests)) > 1:
        requested = gather_object([", ".join(map(str, requests)) or "nothing"])
        listed = "; ".join(f"process {rank}: {text}" for rank, text in enumerate(requested))
        raise EditError(
            f"All processes must request the same edits; after step {run.clock.step} their requests differ: {listed}."
        )


def apply_edits(run: TrainingRun, requests: list[EditRequest]) -> None:
    """Apply edits, update optimizer and wrappers, audit the result, and write the journal; called on every process.

    If one process fails, all processes raise an error.

    Raises:
        EditError: if an edit fails, or if an edit or the audit fails on another process.
        AuditError: if the audit fails.
    """
    records: list[Record] = []
    head = run.encoder_with_head.head
    error: Exception | None = None
    run.new_parameters.clear()
    try:
        audit.check_trainable_unchanged(run.encoder_with_head, run.wrapped)
        for request in requests:
            records.append(apply_edit(run, request))
            run.applied_edits.journal.append(records[-1])
        check_has_trainable_parameters(run)
    except Exception as caught:  # raised below, once the other processes know of it
        error = caught
    model, accelerator = run.encoder_with_head, run.accelerator
    _raise_on_all(run, error)
    if model.head is not head:
        run.head_check.check([PlannedHead.of(model)])
    check_replicas(run)  # before the wrappers are recreated, which could hide a difference
    update_wrappers(run, requests)
    error = None
    try:
        audit.check_optimizer(model, run.optimizer)
        audit.check_reducer(model, run.wrapped, accelerator.num_processes)
        audit.check_rates(run.optimizer, run.schedule)
        audit.check_compiled(model, run.wrapped)
    except audit.AuditError as caught:
        error = caught
    _raise_on_all(run, error)
    run.evaluations.forget_predictions()
    run.gradient_check.repeat_in_next_step()
    if run.batches.features is not None:
        run.batches.disable_cache_if(run.batches.features.why_unusable_after_edits(run))
    run.applied_edits.record(records)
    run.hooks.call(run, "after_edits")


def update_wrappers(run: TrainingRun, requests: Sequence[EditRequest]) -> None:
    """Recreate the model's wrappers if edits require it, and update the list of frozen modules."""
    model = run.encoder_with_head
    must_recompile = run.wrapped.is_compiled and any(
        request.name not in EDITS_WITHOUT_PARAMETER_CHANGES for request in requests
    )
    if must_recompile or not run.wrapped.fits(model):
        run.wrapped = rewrap(run.accelerator, run.wrapped, model)
    run.frozen = frozen_modules(model)


def _raise_on_all(run: TrainingRun, error: Exception | None) -> None:
    """Raise an error on every process if any process failed, so that no process waits forever for another."""
    messages = [None if error is None else f"{type(error).__name__}: {one_line(error)}"]
    if run.accelerator.num_processes > 1:
        messages = gather_object(messages)
    if error is not None:
        raise error
    for rank, message in enumerate(messages):
        if message is not None:
            raise EditError(f"Process {rank} could not apply the edits after step {run.clock.step}: {message}")

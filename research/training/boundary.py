"""Boundaries, at which requested edits are applied.

There is a boundary before the first step, after each step, and at the start and the end of each epoch. At a boundary,
the processes agree on the requested edits, and apply them on all processes or on none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object

from research.edits.apply import apply_edit, check_has_trainable_parameters, describe_failed_edit
from research.edits.base import EditError, hash_requests, touched_by
from research.edits.records import EditRequest, Record
from research.model.head_check import PlannedHead
from research.model.selectors import frozen_modules
from research.system.errors import one_line
from research.training import audit

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
    accelerator, wrapping = run.accelerator, run.wrapping
    audit.check_replicas(
        wrapping.model,
        run.optimizer,
        accelerator.gather,
        accelerator.num_processes,
        num_shards=wrapping.num_shards,
        held=wrapping.held,
    )


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
    model, wrapping, touches = run.encoder_with_head, run.wrapping, touched_by(requests)
    records: list[Record] = []

    def apply() -> None:
        for request in requests:
            try:
                records.append(apply_edit(run, request))
            except RuntimeError as error:
                if (reason := wrapping.explain(error)) is None:
                    raise
                raise EditError(describe_failed_edit(run, request, reason)) from error
            run.applied_edits.journal.append(records[-1])
        check_has_trainable_parameters(run)

    def check() -> None:
        audit.check_optimizer(model, run.optimizer)
        wrapping.check(run.optimizer)
        audit.check_rates(run.optimizer, run.schedule)
        audit.check_compiled(wrapping)

    head = model.head
    run.new_parameters.clear()
    _run_on_all(run, lambda: audit.check_trainable_unchanged(wrapping))
    wrapping.begin_edits(touches, run.optimizer)
    _run_on_all(run, apply)
    if model.head is not head:
        run.head_check.check([PlannedHead.of(model)])
    check_replicas(run)  # before the wrappers are adapted, which could hide a difference
    replaced = wrapping.end_edits(touches, run.optimizer)
    run.new_parameters = {replaced.get(parameter, parameter) for parameter in run.new_parameters}
    run.frozen = frozen_modules(model)
    _run_on_all(run, check)
    run.evaluations.forget_predictions()
    run.gradient_check.repeat_in_next_step()
    if run.batches.features is not None:
        run.batches.disable_cache_if(run.batches.features.why_unusable_after_edits(run))
    run.applied_edits.record(records)
    run.hooks.call(run, "after_edits")


def _run_on_all(run: TrainingRun, work: Callable[[], None]) -> None:
    """Do work on every process. If it fails on one of them, raise an error on all, so that none waits for another."""
    error: Exception | None = None
    try:
        work()
    except Exception as caught:  # raised below, once the other processes know of it
        error = caught
    messages = [None if error is None else f"{type(error).__name__}: {one_line(error)}"]
    if run.accelerator.num_processes > 1:
        messages = gather_object(messages)
    if error is not None:
        raise error
    for rank, message in enumerate(messages):
        if message is not None:
            raise EditError(f"Process {rank} could not apply the edits after step {run.clock.step}: {message}")

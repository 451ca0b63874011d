"""Hooks are called in order, and the edits that a hook requests are attributed to it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from research import Hook
from research.data.batches.batch import Batch
from research.data.batches.order import MicroBatch, evaluation_batches
from research.training.api import Run
from research.training.hook_caller import HookCaller
from research.training.run import TrainingRun
from tests.messages import collect_messages
from tests.research.conftest import StartRun


class Recorder(Hook):
    """Records its calls, and the hook to which the run attributes requests."""

    def __init__(self, name: str, calls: list[tuple[object, ...]]) -> None:
        self.name = name
        self.calls = calls

    def _record(self, run: Run, *arguments: object) -> None:
        assert isinstance(run, TrainingRun)
        self.calls.append((self.name, run.requests.requested_by, run.requests.point, *arguments))

    def on_train_start(self, run: Run) -> None:
        self._record(run)

    def on_resume(self, run: Run) -> None:
        self._record(run)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        self._record(run, split, metrics)

    def on_exception(self, run: Run, error: BaseException) -> None:
        self._record(run, error)
        raise OSError(f"{self.name} fails as well")


class AddsOne(Hook):
    """Adds 1 to the labels."""

    def on_batch(self, run: Run, batch: Batch) -> Batch:
        return dataclasses.replace(batch, labels=batch.labels + 1)


class Doubles(Hook):
    """Doubles the labels."""

    def on_batch(self, run: Run, batch: Batch) -> Batch:
        return dataclasses.replace(batch, labels=batch.labels * 2)


class Halves(Hook):
    """Removes half of the labels, so that the batch has fewer labels than inputs."""

    def on_batch(self, run: Run, batch: Batch) -> Batch:
        return dataclasses.replace(batch, labels=batch.labels[: len(batch) // 2])


def make_micro_batch(run: TrainingRun) -> MicroBatch:
    """Return a micro-batch of 4 training rows."""
    return evaluation_batches(run.lengths_of("train"), process=0, num_processes=1, batch_size=4)[0]


def test_call_calls_hooks_in_order_and_attributes_requests(start_run: StartRun) -> None:
    run, calls = start_run(), list[tuple[object, ...]]()
    hooks = HookCaller([Recorder("a", calls), Hook(), Recorder("b", calls)])
    hooks.call(run, "after_evaluate", "test", {"loss": 0.5})
    assert calls == [(name, "hook Recorder", "after_evaluate", "test", {"loss": 0.5}) for name in "ab"]
    assert (run.requests.requested_by, run.requests.point) == ("Python", None)


def test_begin_calls_on_train_start_or_on_resume(start_run: StartRun) -> None:
    run, calls = start_run(), list[tuple[object, ...]]()
    fresh, resumed = Recorder("fresh", calls), Recorder("resumed", calls)
    hooks = HookCaller([fresh, resumed])
    hooks.resumed.append(resumed)
    hooks.begin(run)
    assert [(name, point) for name, _, point in calls] == [("fresh", "on_train_start"), ("resumed", "on_resume")]
    assert [*hooks] == [fresh, resumed]


def test_notify_exception_reaches_every_hook_even_if_one_fails(start_run: StartRun) -> None:
    run, calls, error = start_run(), list[tuple[object, ...]](), ValueError("test error")
    with collect_messages() as lines:
        HookCaller([Recorder("a", calls), Recorder("b", calls)]).notify_exception(run, error)
    assert calls == [(name, "hook Recorder", "on_exception", error) for name in "ab"]
    assert [f"{name} fails as well" in line for name, line in zip("ab", lines, strict=True)] == [True, True]


def test_change_batch_applies_hooks_in_order(start_run: StartRun) -> None:
    run = start_run()
    batch = run.collate(make_micro_batch(run))
    changed = HookCaller([AddsOne(), Hook(), Doubles()]).change_batch(run, batch)
    assert torch.equal(changed.labels, (batch.labels + 1) * 2)
    assert HookCaller([Hook()]).change_batch(run, batch) is batch


def test_change_batch_refuses_a_changed_number_of_rows(start_run: StartRun) -> None:
    run = start_run()
    with pytest.raises(ValueError, match="Halves"):
        HookCaller([AddsOne(), Halves()]).change_batch(run, run.collate(make_micro_batch(run)))

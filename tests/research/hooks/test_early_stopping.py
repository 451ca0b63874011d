"""Early stopping ends a run when a validation metric no longer improves."""

from __future__ import annotations

import pytest

from research.hooks.early_stopping import EarlyStopping
from tests.research.conftest import StartRun


def test_early_stopping_stops_when_patience_is_exhausted_even_after_a_resume(start_run: StartRun) -> None:
    run, hook = start_run(), EarlyStopping(metric="accuracy", patience=2)
    for value in (0.5, 0.6, 0.6):
        hook.after_evaluate(run, "validation", {"accuracy": value})
    resumed = EarlyStopping(metric="accuracy", patience=2)
    resumed.load_state_dict(hook.state_dict())
    resumed.after_evaluate(run, "test", {"accuracy": 0.0})  # only validation metrics count
    assert not run.requested_stop_reason
    resumed.after_evaluate(run, "validation", {"accuracy": 0.59})
    assert all(part in str(run.requested_stop_reason) for part in ("accuracy", " 2 ", "0.6000"))


def test_early_stopping_resets_the_count_on_improvement(start_run: StartRun) -> None:
    run, hook = start_run(), EarlyStopping(metric="loss", patience=2)
    for value in (0.5, 0.6, 0.4, 0.4):
        hook.after_evaluate(run, "validation", {"loss": value})
    assert (hook.best, hook.num_without_improvement, run.requested_stop_reason) == (0.4, 1, None)


def test_early_stopping_resets_the_count_in_a_fork_with_a_different_metric(start_run: StartRun) -> None:
    run, hook = start_run(), EarlyStopping(metric="accuracy")
    for value in (0.6, 0.5):
        hook.after_evaluate(run, "validation", {"accuracy": value})
    same_metric, different_metric = EarlyStopping(metric="accuracy"), EarlyStopping(metric="loss")
    for fork in (same_metric, different_metric):
        fork.load_state_dict(hook.state_dict())
        fork.on_resume(run)
    assert (same_metric.best, same_metric.num_without_improvement) == (0.6, 1)
    assert (different_metric.best, different_metric.num_without_improvement) == (None, 0)


def test_early_stopping_refuses_unknown_and_unsuitable_metrics_and_a_patience_of_0(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"'acuracy'.*'accuracy'"):
        EarlyStopping(metric="acuracy")
    with pytest.raises(ValueError, match="'pearson'"):  # a metric of regression only
        EarlyStopping(metric="pearson").on_train_start(start_run())
    with pytest.raises(ValueError, match=r"patience .*\b0\b"):
        EarlyStopping(patience=0)

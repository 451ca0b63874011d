"""A run is planned without weights and tokens: its hooks, and the edits that hooks plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from research import Hook, RunConfig
from research.hooks.checkpointing import Checkpointing
from research.hooks.early_stopping import EarlyStopping
from research.hooks.evaluation import BestModel, Evaluation
from research.hooks.follow_timeline import FollowTimeline
from research.hooks.gradual_unfreezing import GradualUnfreezing
from research.hooks.logging import MetricsLog, Progress
from research.hooks.profiling import Profiling
from research.runner.plan import block_names, entries_planned_by_hooks
from tests.research.conftest import StartRun


class UserHook(Hook):
    """A user-defined hook whose `timeline` returns a given value."""

    def __init__(self, planned: Any = ()) -> None:
        self.planned = planned

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        return self.planned if isinstance(self.planned, str) else list(self.planned)  # type: ignore[return-value]


def test_user_hooks_run_before_evaluation_logging_and_saving(start_run: StartRun) -> None:
    run = start_run([UserHook()], hook=["ema"], best_metric="loss", evaluate_every="2st", patience=2, profile=True)
    hook_types = [type(hook) for hook in run.hooks]
    assert [hook_type.__name__ for hook_type in hook_types[2:4]] == ["UserHook", "ExponentialMovingAverage"]
    assert hook_types[:2] == [FollowTimeline, BestModel]
    assert hook_types[4:] == [Progress, Evaluation, EarlyStopping, MetricsLog, Checkpointing, Profiling]
    assert [type(hook) for hook in start_run().hooks] == [
        FollowTimeline,
        Progress,
        Evaluation,
        MetricsLog,
        Checkpointing,
    ]


def test_block_names_are_in_the_order_of_the_model(start_run: StartRun) -> None:
    assert block_names(start_run().encoder_with_head) == ["embeddings", "layer.0", "layer.1", "head"]


def test_planned_edits_are_requested_by_their_hook() -> None:
    blocks = ["embeddings", "layer.0", "layer.1", "head"]
    user_hook = UserHook([{"at": "5st", "scale_lr": 0.5}])
    entries = entries_planned_by_hooks([user_hook, GradualUnfreezing(over="3st")], RunConfig(), blocks)
    assert [entry.requested_by for entry in entries] == ["hook UserHook", *["hook GradualUnfreezing"] * 4]
    # GradualUnfreezing freezes before training, and unfreezes a part of the encoder after steps 1, 2 and 3.
    assert [str(entry.at) for entry in entries] == ["5st", "0%", "1st", "2st", "3st"]


@pytest.mark.parametrize("planned", ["soon", ["soon"]])
def test_hook_whose_timeline_is_not_a_list_of_entries_is_rejected(planned: Any) -> None:
    with pytest.raises(ValueError, match=r"hook 'UserHook' .*soon"):
        entries_planned_by_hooks([UserHook(planned)], RunConfig(), [])


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({"sampling": "balanced", "objective": "logit_adjusted"}, True),
        ({"sampling": "square_root", "objective": {"name": "cross_entropy", "class_weights": "balanced"}}, True),
        ({"sampling": "balanced", "objective": {"name": "logit_adjusted", "tau": 0.0}}, False),
        ({"sampling": "balanced", "objective": {"name": "cross_entropy", "class_weights": [1.0, 2.0]}}, False),
        ({"objective": "logit_adjusted"}, False),
    ],
)
def test_two_corrections_of_unequal_labels_are_a_warning(
    start_run: StartRun, settings: dict[str, Any], is_warned: bool
) -> None:
    messages: list[str] = []
    start_run(messages=messages, **settings)
    assert any("both favour rare labels" in message for message in messages) == is_warned


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({"freeze": ["encoder"], "lr": 1e-3}, True),
        ({"freeze": ["encoder"], "lr": 1e-3, "head_lr": None}, False),
        ({"freeze": ["encoder"]}, False),
        ({"lr": 1e-3}, False),
    ],
)
def test_learning_rate_that_changes_nothing_is_a_warning(
    start_run: StartRun, settings: dict[str, Any], is_warned: bool
) -> None:
    messages: list[str] = []
    start_run(messages=messages, **settings)
    assert any("--lr changes nothing" in message for message in messages) == is_warned

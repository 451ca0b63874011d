"""Forks continue a checkpoint with their own edits, learning rates and schedules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from research import Hook
from research.settings.forks import parse_fork
from research.training.api import Run
from tests.builders.run_files import journal_of, metrics_lines_of, read_test_predictions, result_of, without_speed
from tests.conftest import Launch
from tests.integration.forks.conftest import Train


@pytest.mark.parametrize("step", [4, 8])
def test_unchanged_fork_reproduces_its_parent_bit_for_bit(fork: Train, parent: Path, tmp_path: Path, step: int) -> None:
    result = fork(step=step, report=True)
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    assert result["parent"] == {"run": str(parent), "step": step}
    assert without_speed(metrics_lines_of(tmp_path / "fork")) == without_speed(metrics_lines_of(parent))
    assert journal_of(tmp_path / "fork") == journal_of(parent)
    assert read_test_predictions(tmp_path / "fork").equals(read_test_predictions(parent))
    page = (tmp_path / "fork" / "report.html").read_text(encoding="utf-8")
    assert f"This run is a fork of <code>{parent}</code> after step {step}. Dashed lines are the parent" in page


def test_fork_has_the_steps_of_its_parent_until_its_first_new_edit(fork: Train, parent: Path, tmp_path: Path) -> None:
    shared_entries = [{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "unfreeze": "encoder"}]
    fork(timeline=[*shared_entries, {"at": "6st", "replace_head": "gru"}])
    fork_lines, parent_lines = (without_speed(metrics_lines_of(run)) for run in (tmp_path / "fork", parent))
    assert fork_lines[:6] == parent_lines[:6]  # losses too, since rows and dropout masks are the same
    assert all(
        forked["loss"] != original["loss"] for forked, original in zip(fork_lines[6:], parent_lines[6:], strict=True)
    )
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (6, "replace_head"), (9, "unfreeze")]


def test_edit_at_the_step_of_the_fork_is_applied(fork: Train, parent: Path, tmp_path: Path) -> None:
    fork(timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "4st", "scale_lr": 0.5}])
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (4, "scale_lr")]
    fork_lines, parent_lines = metrics_lines_of(tmp_path / "fork"), metrics_lines_of(parent)
    assert fork_lines[4]["learning_rate/head"] == pytest.approx(parent_lines[4]["learning_rate/head"] / 2)


def test_new_edit_due_before_the_step_of_the_fork_is_refused(fork: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"timeline entry 1: 3st is step 3, .*after step 4"):
        fork(timeline=[{"at": "3st", "replace_head": "gru"}])
    assert not (tmp_path / "fork").exists()


def test_percentages_in_a_longer_fork_refer_to_its_own_length_and_applied_edits_are_not_repeated(
    fork: Train, tmp_path: Path, parent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = fork(
        step=8, epochs=4, timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "freeze": "head"}]
    )
    assert result["steps"] == 24
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (18, "freeze")]
    capsys.readouterr()
    late_fork = fork("late", step=12, epochs=4)  # starts after 75% of the parent's steps, but before 75% of its own
    assert late_fork["steps"] == 24
    assert re.search(r"not repeated at step 18\b", capsys.readouterr().out)
    assert journal_of(tmp_path / "late") == [(2, "freeze"), (9, "unfreeze")]


def test_fork_uses_the_learning_rates_of_its_own_settings(fork: Train, tmp_path: Path, parent: Path) -> None:
    fork(lr=2e-4, schedule="constant")
    fork_line = metrics_lines_of(tmp_path / "fork")[5]
    assert fork_line["learning_rate/layer.1"] == pytest.approx(2e-4)
    assert fork_line["learning_rate/head"] == pytest.approx(1e-3)  # the default of head_lr
    assert metrics_lines_of(parent)[5]["learning_rate/layer.1"] != pytest.approx(2e-4)


def test_fork_with_different_weight_decay_keeps_the_learning_rates_of_its_parent(
    train: Train, fork: Train, tmp_path: Path
) -> None:
    # This edit multiplies the rates by the schedule's factor (see conftest.py). So it would compute different rates if
    # it were applied again before the schedule has been restored.
    timeline = [{"at": "3st", "rates_by_schedule": None}]
    train("first", timeline=timeline)
    fork("second", fork=f"{tmp_path / 'first'}@4", timeline=timeline, weight_decay=0.5)
    first, second = (metrics_lines_of(tmp_path / name) for name in ("first", "second"))
    for name in ("learning_rate/head", "learning_rate/layer.1"):
        assert [line[name] for line in second] == [line[name] for line in first]
    assert first[5]["loss"] != second[5]["loss"]


class RecordsStartOrResume(Hook):
    """Record whether the hook is started or resumed."""

    def __init__(self) -> None:
        self.starts: list[str] = []

    def on_train_start(self, run: Run) -> None:
        self.starts.append("new")

    def on_resume(self, run: Run) -> None:
        self.starts.append("resumed")


def test_hook_added_by_a_fork_is_started_and_not_resumed(fork: Train) -> None:
    hook = RecordsStartOrResume()
    fork(hooks=[hook])
    assert hook.starts == ["new"]


def test_fork_of_a_missing_checkpoint_or_run_is_refused(fork: Train, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 5\b.*: 4, 8, 12"):
        fork(step=5)
    with pytest.raises(ValueError, match="not a run directory"):
        fork(fork=str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"Expected fork=.runs/<name>@step-400"):
        fork(fork=f"{parent}@half")


def test_parse_fork_accepts_a_run_with_or_without_a_step(parent: Path) -> None:
    assert parse_fork(str(parent)).step is None
    assert parse_fork(f"{parent}@step-00000008").step == parse_fork(f"{parent}@8").step == 8


def test_fork_can_be_resumed_and_forked(fork: Train, settings: dict[str, Any], tmp_path: Path, parent: Path) -> None:
    timeline = [*settings["timeline"], {"at": "6st", "replace_head": "gru"}]
    uninterrupted = fork(timeline=timeline)
    (tmp_path / "fork" / "result.json").unlink()
    # Without its last checkpoint, the fork resumes from step 8.
    for path in (tmp_path / "fork" / "checkpoints" / "step-00000012").rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    resumed = fork(timeline=timeline, resume="auto")
    assert resumed["weights_sha256"] == uninterrupted["weights_sha256"]
    assert resumed["parent"] == {"run": str(parent), "step": 4}
    fork_of_fork = fork("grandchild", fork=f"{tmp_path / 'fork'}@8", timeline=timeline)
    assert fork_of_fork["weights_sha256"] == uninterrupted["weights_sha256"]
    assert fork_of_fork["parent"] == {"run": str(tmp_path / "fork"), "step": 8}


def test_fork_on_the_command_line_inherits_all_settings_that_are_not_given(
    launch: Launch, parent: Path, tmp_path: Path
) -> None:
    options = ["--fork", f"{parent}@step-8", "--timeline", "{at: 10st, set_dropout: {modules: head, p: 0.5}}"]
    done = launch([*options, "--dry_run"], cwd=tmp_path)
    # The plan shows learning rates from step 9 on. Its first range of steps is "9 - 9".
    assert "9 - 9" in done.stdout
    assert " 8 " not in done.stdout.split("Learning rates")[1].split("9 - 9")[0]
    done = launch([*options, "--output_dir", tmp_path / "fork"])
    assert f"{parent}/checkpoints/step-00000008" in done.stdout
    assert re.search(r"\btimeline was .*, now .*set_dropout", done.stdout)
    fork_settings, parent_settings = (
        yaml.safe_load((run / "config.yaml").read_text()) for run in (tmp_path / "fork", parent)
    )
    assert fork_settings.pop("fork") == f"{parent}@step-8"
    assert fork_settings.pop("timeline") == [
        *parent_settings.pop("timeline"),
        {"at": "10st", "set_dropout": {"modules": "head", "p": 0.5}},
    ]
    assert parent_settings.pop("fork") is None
    assert fork_settings == parent_settings


def test_fork_of_a_run_that_stopped_early_takes_no_step_unless_its_patience_is_higher(
    train: Train, fork: Train, tmp_path: Path
) -> None:
    no_progress: dict[str, Any] = {
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",  # after every step
        "patience": 2,
        "hook": [],
        "timeline": [],
    }
    first = train("first", **no_progress)
    assert first["steps"] == 3
    unchanged = fork("unchanged", fork=str(tmp_path / "first"), **no_progress)
    assert (unchanged["steps"], unchanged["stopped_because"]) == (3, first["stopped_because"])
    assert unchanged["weights_sha256"] == first["weights_sha256"]
    harmless = {"log_every": 3, "keep": 3, "save_every": None, "evaluation_batch_size": 5, "num_threads": 2}
    changed = fork("changed", fork=str(tmp_path / "first"), **no_progress | harmless)
    assert (changed["steps"], changed["weights_sha256"]) == (3, first["weights_sha256"])
    longer = fork("longer", fork=str(tmp_path / "first"), **no_progress | {"patience": 4})
    assert longer["steps"] == 5


def test_edit_counts_as_applied_only_for_the_same_timeline_entry(fork: Train, tmp_path: Path) -> None:
    # The edit equals the parent's edit at step 2, but its timeline entry has a different time.
    fork(timeline=[{"at": "6st", "freeze": "encoder.layer[0]"}])
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (6, "freeze")]


def test_repeating_edits_of_a_fork_are_applied_at_multiples_of_their_interval(
    train: Train, fork: Train, tmp_path: Path
) -> None:
    repeating_entry = {"every": "2st", "scale_lr": 0.5}
    fork("added", timeline=[repeating_entry])
    assert journal_of(tmp_path / "added") == [(2, "freeze"), *((step, "scale_lr") for step in (4, 6, 8, 10))]
    train("first", timeline=[repeating_entry])
    fork("inherited", fork=f"{tmp_path / 'first'}@4", timeline=[repeating_entry])
    assert journal_of(tmp_path / "inherited") == journal_of(tmp_path / "first")


def test_fork_does_not_repeat_an_edit_whose_condition_came_true(train: Train, fork: Train, tmp_path: Path) -> None:
    timeline = [{"when": "below(validation/loss, 9)", "add_lora": {"r": 2}}]
    first = train("first", timeline=timeline)
    second = fork("second", fork=f"{tmp_path / 'first'}@4", timeline=timeline)
    assert second["weights_sha256"] == first["weights_sha256"]
    assert journal_of(tmp_path / "second") == journal_of(tmp_path / "first") == [(2, "add_lora")]


@pytest.mark.parametrize("on_conflict", ["skip", "error"])
def test_fork_may_start_after_a_conditional_edit_has_become_impossible(
    train: Train, fork: Train, tmp_path: Path, on_conflict: str
) -> None:
    conditional = {"when": "below(validation/loss, 0)", "reinitialize": "encoder.layer[-1]", "on_conflict": on_conflict}
    # The condition never comes true. After add_lora, reinitialize would be refused.
    timeline = [{"at": "3st", "add_lora": {"r": 2}}, conditional]
    first = train("first", timeline=timeline)
    second = fork("second", fork=f"{tmp_path / 'first'}@4", timeline=timeline)
    assert second["weights_sha256"] == first["weights_sha256"]


@pytest.mark.parametrize(("optimizer", "group_key"), [("adamw", "betas"), ("sgd", "momentum")])
def test_fork_with_constant_momentum_drops_the_cyclic_momentum_of_its_parent(
    train: Train, fork: Train, tmp_path: Path, optimizer: str, group_key: str
) -> None:
    momenta = []

    class RecordsMomentum(Hook):
        def after_step(self, run: Run) -> None:
            momenta.append(run.optimizer.param_groups[0][group_key])

    cyclic_momentum = {
        "schedule": {"name": "one_cycle", "cycle_momentum": True},
        "optimizer": optimizer,
        "timeline": [],
    }
    train("first", **cyclic_momentum)
    fork(
        "second",
        fork=f"{tmp_path / 'first'}@4",
        hooks=[RecordsMomentum()],
        **cyclic_momentum | {"schedule": "constant"},
    )
    train("unforked", hooks=[RecordsMomentum()], **cyclic_momentum | {"schedule": "constant"})
    assert len(momenta) == 8 + 12  # steps of the fork and of the unforked run
    assert len(set(momenta)) == 1


@pytest.mark.parametrize(("before", "after"), [("plateau", "linear"), ("linear", "plateau")])
def test_fork_may_change_from_and_to_the_plateau_schedule(
    train: Train, fork: Train, tmp_path: Path, before: str, after: str
) -> None:
    train("first", schedule=before, timeline=[], evaluate_every="1st")
    result = fork("second", fork=f"{tmp_path / 'first'}@4", schedule=after, timeline=[], evaluate_every="1st")
    train("unforked", schedule=after, timeline=[], evaluate_every="1st")
    assert result["steps"] == 12
    if after == "linear":
        forked, unforked = (
            [line["learning_rate/head"] for line in metrics_lines_of(tmp_path / run)[4:]]
            for run in ("second", "unforked")
        )
        assert forked == unforked

"""Forks: other continuations of one checkpoint; and continuing on other processes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from research import Hook, RunConfig, register_edit, run_experiment
from research.edits.base import Editable
from research.learning.optimizer import apply_schedule
from research.runner.same_run import OtherRunError
from research.settings.forks import parse_fork
from research.training.api import Run
from research.training.checkpoint.find import CheckpointError
from tests.conftest import ROOT, Launch
from tests.integration.test_main_job import lines_of, result_of, without_times

Train = Callable[..., dict[str, Any]]


@register_edit("rates_by_schedule", changes_parameters=False)
def rates_by_schedule(run: Editable) -> None:
    """Multiply all base rates by what the schedule makes of them now."""
    for group in run.optimizer.param_groups:
        group["base_lr"] *= run.schedule.factor
    apply_schedule(run.optimizer, run.schedule)


@pytest.fixture(scope="module")
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, Any]:
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 32,
        "batch_size": 8,
        "epochs": 2,
        "head": {"name": "linear", "dropout": 0.1},
        "timeline": [{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "unfreeze": "encoder"}],
        "hook": ["ema"],
        "evaluate_every": "2st",
        "save_every": "4st",
        "keep": 9,
        "log_every": 1,
        "log_with": [],
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
    }


@pytest.fixture(scope="module")
def parent(settings: dict[str, Any], cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps with checkpoints after 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("parent") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        run_experiment(RunConfig(**settings, output_dir=str(folder)))
    return folder


@pytest.fixture
def fork(
    settings: dict[str, Any], parent: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    """Fork the parent at step 4, with other settings."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run(name: str = "fork", step: int = 4, *, hooks: list[Hook] | None = None, **changed: Any) -> dict[str, Any]:
        config = RunConfig(**settings | {"output_dir": str(tmp_path / name), "fork": f"{parent}@step-{step}"} | changed)
        return run_experiment(config, hooks=hooks or [])

    return run


def predictions_of(run: Path) -> Any:
    return pq.read_table(run / "predictions" / "test.parquet")


def journal_of(run: Path) -> list[tuple[int, str]]:
    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [(record["step"], record["name"]) for record in records]


@pytest.mark.parametrize("step", [4, 8])
def test_fork_without_changes_ends_with_its_parents_bits(fork: Train, parent: Path, tmp_path: Path, step: int) -> None:
    result = fork(step=step, report=True)
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    assert result["parent"] == {"run": str(parent), "step": step}
    assert without_times(lines_of(tmp_path / "fork")) == without_times(lines_of(parent))
    assert journal_of(tmp_path / "fork") == journal_of(parent)
    assert predictions_of(tmp_path / "fork").equals(predictions_of(parent))
    page = (tmp_path / "fork" / "report.html").read_text(encoding="utf-8")
    assert f"A fork of <code>{parent}</code> after its step {step}; its curves are dashed." in page


def test_fork_shares_its_parents_steps_until_its_own_edit(fork: Train, parent: Path, tmp_path: Path) -> None:
    more = [{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "unfreeze": "encoder"}]
    fork(timeline=[*more, {"at": "6st", "replace_head": "gru"}])
    own, others = (without_times(lines_of(run)) for run in (tmp_path / "fork", parent))
    assert own[:6] == others[:6]  # also the losses: the same examples, and the same units dropped
    assert all(mine["loss"] != theirs["loss"] for mine, theirs in zip(own[6:], others[6:], strict=True))
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (6, "replace_head"), (9, "unfreeze")]


def test_edit_at_the_forks_own_step_is_applied_there(fork: Train, parent: Path, tmp_path: Path) -> None:
    fork(timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "4st", "scale_lr": 0.5}])
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (4, "scale_lr")]
    own, others = lines_of(tmp_path / "fork"), lines_of(parent)
    assert own[4]["learning_rate/head"] == pytest.approx(others[4]["learning_rate/head"] / 2)


def test_edit_before_the_fork_is_refused(fork: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"timeline entry 1: 3st is step 3, .*after step 4"):
        fork(timeline=[{"at": "3st", "replace_head": "gru"}])
    assert not (tmp_path / "fork").exists()


def test_longer_fork_does_not_repeat_edits_whose_share_of_the_run_comes_again(
    fork: Train, tmp_path: Path, parent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = fork(
        step=8, epochs=4, timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "freeze": "head"}]
    )
    assert result["steps"] == 24
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (18, "freeze")]
    capsys.readouterr()
    shorter = fork("again", step=12, epochs=4)  # 75% of the parent's steps are past, and of its own are to come
    assert shorter["steps"] == 24
    assert re.search(r"not repeated at step 18\b", capsys.readouterr().out)
    assert journal_of(tmp_path / "again") == [(2, "freeze"), (9, "unfreeze")]


def test_rates_of_a_fork_are_those_of_its_settings(fork: Train, tmp_path: Path, parent: Path) -> None:
    fork(lr=2e-4, schedule="constant")
    own = lines_of(tmp_path / "fork")[5]
    assert own["learning_rate/layer.1"] == pytest.approx(2e-4)
    assert own["learning_rate/head"] == pytest.approx(1e-3)
    assert lines_of(parent)[5]["learning_rate/layer.1"] != pytest.approx(2e-4)


def test_fork_with_another_weight_decay_keeps_its_parents_rates(fork: Train, tmp_path: Path) -> None:
    # Applied again before the schedule is where it was, the edit would compute other rates.
    timeline = [{"at": "3st", "rates_by_schedule": None}]
    fork("first", fork=None, timeline=timeline)
    fork("second", fork=f"{tmp_path / 'first'}@4", timeline=timeline, weight_decay=0.5)
    first, second = (lines_of(tmp_path / name) for name in ("first", "second"))
    for name in ("learning_rate/head", "learning_rate/layer.1"):
        assert [line[name] for line in second] == [line[name] for line in first]
    assert first[5]["loss"] != second[5]["loss"]


class Remembers(Hook):
    """Knows whether it began with the run or went on."""

    def __init__(self) -> None:
        self.began: list[str] = []

    def on_train_start(self, run: Run) -> None:
        self.began.append("new")

    def on_resume(self, run: Run) -> None:
        self.began.append("resumed")


def test_hook_that_a_fork_adds_begins_there(fork: Train) -> None:
    hook = Remembers()
    fork(hooks=[hook])
    assert hook.began == ["new"]


def test_fork_cannot_change_what_the_checkpoint_stands_on(fork: Train, tmp_path: Path) -> None:
    for changed in ({"seed": 1}, {"batch_size": 4}, {"optimizer": "sgd"}, {"limit_train": 40}):
        (name,) = changed
        with pytest.raises(CheckpointError, match=rf"step-00000004 .*\b{name} was .*, now"):
            fork(**changed)
    with pytest.raises(CheckpointError, match=r"6 steps .*step 8"):
        fork(step=8, epochs=1, timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}])
    assert not (tmp_path / "fork").exists()


def test_point_that_is_not_there_is_refused(fork: Train, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 5\b.*: 4, 8, 12"):
        fork(step=5)
    with pytest.raises(ValueError, match="is no run directory"):
        fork(fork=str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"Expected --fork as runs/<name>@step-400"):
        fork(fork=f"{parent}@half")
    assert parse_fork(str(parent)).step is None
    assert parse_fork(f"{parent}@step-00000008").step == parse_fork(f"{parent}@8").step == 8


def test_fork_is_resumed_and_forked_itself(fork: Train, settings: dict[str, Any], tmp_path: Path, parent: Path) -> None:
    added = [*settings["timeline"], {"at": "6st", "replace_head": "gru"}]
    whole = fork(timeline=added)
    (tmp_path / "fork" / "result.json").unlink()
    for checkpoint in ("step-00000012",):
        for path in (tmp_path / "fork" / "checkpoints" / checkpoint).rglob("*.safetensors"):
            path.write_bytes(b"damaged")
    again = fork(timeline=added, resume="auto")
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["parent"] == {"run": str(parent), "step": 4}
    fork_of_fork = fork("grandchild", fork=f"{tmp_path / 'fork'}@8", timeline=added)
    assert fork_of_fork["weights_sha256"] == whole["weights_sha256"]
    assert fork_of_fork["parent"] == {"run": str(tmp_path / "fork"), "step": 8}


def test_command_line_forks_with_the_parents_settings(launch: Launch, parent: Path, tmp_path: Path) -> None:
    options = ["--fork", f"{parent}@step-8", "--timeline", "{at: 10st, set_dropout: {modules: head, p: 0.5}}"]
    done = launch([*options, "--dry_run"], cwd=tmp_path)
    assert "9 - 9" in done.stdout
    assert " 8 " not in done.stdout.split("Learning rates")[1].split("9 - 9")[0]
    done = launch([*options, "--output_dir", tmp_path / "fork"])
    assert f"{parent}/checkpoints/step-00000008" in done.stdout
    assert re.search(r"\btimeline was .*, now .*set_dropout", done.stdout)
    own, others = (yaml.safe_load((run / "config.yaml").read_text()) for run in (tmp_path / "fork", parent))
    assert own.pop("fork") == f"{parent}@step-8"
    assert own.pop("timeline") == [
        *others.pop("timeline"),
        {"at": "10st", "set_dropout": {"modules": "head", "p": 0.5}},
    ]
    assert others.pop("fork") is None
    assert own == others


def test_resume_elsewhere_takes_metrics_and_best_model_along(
    settings: dict[str, Any], fork: Train, parent: Path, tmp_path: Path
) -> None:
    first = fork("first", best_metric="accuracy", fork=None)
    checkpoint = tmp_path / "first" / "checkpoints" / "step-00000008"
    elsewhere = fork("elsewhere", best_metric="accuracy", fork=None, resume=str(checkpoint))
    assert elsewhere["metrics"] == first["metrics"]
    assert without_times(lines_of(tmp_path / "elsewhere")) == without_times(lines_of(tmp_path / "first"))
    best = [load_file(tmp_path / run / "best" / "model.safetensors") for run in ("first", "elsewhere")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_run_goes_on_with_other_processes_and_micro_batches(
    launch: Launch, settings: dict[str, Any], tmp_path: Path, first: int, then: int
) -> None:
    without_dropout = {
        **settings,
        "dropout": 0.0,
        "head": {"name": "linear", "dropout": 0.0},
        "optimizer": "sgd",  # Adam makes of rounding in a gradient near 0 a whole step
        "lr": 0.1,
        "hook": [],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({**without_dropout, "plugin": [str(ROOT / "tests" / "plugins" / "fail_at_step.py")]})
    )
    run = ["--recipe", recipe, "--hook", "fail_at_step"]
    launch([*run, "--output_dir", tmp_path / "whole"], num_processes=first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIL_AT_STEP", "7")
        done = launch([*run, "--output_dir", tmp_path / "cut"], num_processes=first, check=False)
    assert done.returncode != 0
    other = ["--micro_batch_size", "2", "--resume", "auto", "--output_dir", tmp_path / "cut"]
    done = launch([*run, *other], num_processes=then)
    assert f"{first} processes on cpu before, {then} on cpu now" in done.stdout
    assert "micro_batch_size was 8, now 2" in done.stdout
    lines = [without_times(lines_of(tmp_path / name)) for name in ("whole", "cut")]
    assert lines[0][:4] == lines[1][:4]
    for before, after in zip(*lines, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-5), (before["step"], name)
    models = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.allclose(models[0][name], models[1][name], rtol=1e-4, atol=1e-6) for name in models[0])


def test_harmless_settings_are_applied_with_a_note(
    fork: Train, parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(parent / "checkpoints" / "step-00000008")
    result = fork("again", fork=None, resume=checkpoint, log_every=3, save_every=None, on_nonfinite="skip")
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    printed = capsys.readouterr().out
    for note in ("log_every was 1, now 3", "save_every was '4st', now None", "on_nonfinite was 'error', now 'skip'"):
        assert note in printed


def test_settings_with_a_meaning_are_refused_and_the_fork_is_named(fork: Train, parent: Path) -> None:
    checkpoint = parent / "checkpoints" / "step-00000008"
    with pytest.raises(CheckpointError) as caught:
        fork("again", fork=None, resume=str(checkpoint), seed=3, lr=1e-5, max_length=16)
    message = str(caught.value)
    for change in ("seed was 0, now 3", "lr was 0.0001, now 1e-05", "max_length was 32, now 16"):
        assert change in message
    assert f"--fork {parent}@step-8" in message


def test_rows_that_changed_are_refused_and_rows_that_moved_are_not(
    fork: Train, parent: Path, tiny_reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in tiny_reviews.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    checkpoint = str(parent / "checkpoints" / "step-00000008")
    result = fork("again", fork=None, resume=checkpoint, data=str(moved))
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    assert re.search(rf"data was '{tiny_reviews}', now '{moved}' .*the same", capsys.readouterr().out)
    train = moved / "train.csv"
    train.write_text(train.read_text().replace("good", "great", 1))
    with pytest.raises(CheckpointError, match="data was"):
        fork("third", fork=None, resume=checkpoint, data=str(moved))


def test_run_that_was_stopped_early_stays_stopped(fork: Train, tmp_path: Path) -> None:
    still: dict[str, Any] = {
        "fork": None,
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",
        "patience": 2,
        "hook": [],
    }
    first = fork("first", **still)
    assert first["steps"] == 3
    (tmp_path / "first" / "result.json").unlink()  # as if it had been cut while it finished
    again = fork("first", **still, resume="auto")
    assert (again["steps"], again["stopped_because"]) == (3, first["stopped_because"])
    assert again["weights_sha256"] == first["weights_sha256"]


def test_stop_that_was_asked_for_after_the_last_boundary_is_not_forgotten(fork: Train, tmp_path: Path) -> None:
    class StopsLate(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 4:
                run.stop("enough")

    first = fork("first", hooks=[StopsLate()], fork=None)
    assert (first["steps"], first["stopped_because"]) == (5, "enough")
    checkpoint = str(tmp_path / "first" / "checkpoints" / "step-00000004")
    again = fork("again", hooks=[StopsLate()], fork=None, resume=checkpoint)
    assert (again["steps"], again["weights_sha256"]) == (5, first["weights_sha256"])


def test_finished_run_is_the_result_only_of_the_command_that_made_it(
    fork: Train, settings: dict[str, Any], parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(settings["data"], tmp_path / "moved")
    for same in ({}, {"mixed_precision": "auto"}, {"log_every": 3, "data": str(tmp_path / "moved")}):
        again = fork(fork=None, output_dir=str(parent), resume="auto", **same)
        assert again == result_of(parent)
    printed = capsys.readouterr().out
    assert "log_every was 1, now 3" in printed
    assert re.search(rf"data was .*, now '{tmp_path / 'moved'}' .*the same", printed)
    for name, value in {
        "lr": 5e-3,
        "head": "lstm",
        "max_steps": 20,
        "objective": "focal",
        "mixed_precision": "bf16",
        "seed": 1,
        "limit_train": 40,
        "timeline": [],
    }.items():
        with pytest.raises(OtherRunError, match=rf"finished .*\b{name} was"):
            fork(fork=None, output_dir=str(parent), resume="auto", **{name: value})
    assert result_of(parent) == again


def test_checkpoint_is_not_resumed_in_the_directory_of_another_run(fork: Train, parent: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    fork("other", fork=None, seed=1, timeline=[], max_steps=8)
    checkpoint = str(parent / "checkpoints" / "step-00000004")
    with pytest.raises(OtherRunError, match=rf"{other}: .*seed was 1, now 0"):
        fork("other", fork=None, resume=checkpoint)
    assert [path.name for path in sorted((other / "checkpoints").iterdir())] == ["step-00000004", "step-00000008"]
    assert result_of(other)["steps"] == 8
    same = tmp_path / "same"  # as after the same command was cut
    same.mkdir()
    shutil.copy(parent / "config.yaml", same)
    assert fork("same", fork=None, resume=checkpoint)["weights_sha256"] == result_of(parent)["weights_sha256"]


def test_best_model_of_another_metric_is_dropped(fork: Train, settings: dict[str, Any], tmp_path: Path) -> None:
    # Validation loss is below accuracy here, so that no later loss would ever be "better" than the accuracy before.
    fork("first", best_metric="accuracy", fork=None, timeline=[])
    start = f"{tmp_path / 'first'}@4"
    by_loss = fork("by_loss", fork=start, best_metric="loss", timeline=[])
    alone = fork("alone", fork=None, best_metric="loss", timeline=[])
    assert by_loss["tested"] == "best"
    later = [line["validation/loss"] for line in lines_of(tmp_path / "by_loss")[4:] if "validation/loss" in line]
    assert by_loss["metrics"]["validation"]["loss"] == pytest.approx(min(later))
    assert alone["metrics"]["validation"]["loss"] <= by_loss["metrics"]["validation"]["loss"]
    # Nor do accuracies on shorter inputs, also where none is better than on the longer ones before.
    shorter = {"max_length": 4, "lr": 1e-12, "head_lr": 1e-12}
    fork("shorter", fork=start, best_metric="accuracy", timeline=[], **shorter)
    assert json.loads((tmp_path / "shorter" / "best" / "config.json").read_text())["max_input_length"] == 4


def test_early_stopping_counts_from_the_fork_where_values_do_not_compare(
    fork: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still: dict[str, Any] = {
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",
        "patience": 6,
        "hook": [],
        "schedule": "plateau",  # halves the rates after the third evaluation, the fifth, ...
        "timeline": [{"when": "plateau(validation/accuracy, 5)", "set_dropout": 0.0}],
    }
    assert fork("first", fork=None, **still)["steps"] == 7  # the first evaluation is the best, and six follow
    capsys.readouterr()
    start = f"{tmp_path / 'first'}@4"
    same = fork("same", fork=start, **still)
    assert same["steps"] == 7
    assert journal_of(tmp_path / "same") == [(6, "set_dropout")]
    cases: list[tuple[dict[str, Any], int, float]] = [
        ({"best_metric": "accuracy"}, 6, 0.25),
        ({"objective": "focal"}, 6, 0.5),
        ({"max_length": 6}, 10, 0.5),
        ({"truncation": "tail"}, 10, 0.5),
    ]
    for number, (changed, comes_true, rate) in enumerate(cases):
        name = f"other-{number}"
        other = fork(name, fork=start, **still | changed)
        assert other["steps"] == 11
        assert "begins to count again" in capsys.readouterr().out
        assert journal_of(tmp_path / name) == [(comes_true, "set_dropout")]
        assert lines_of(tmp_path / name)[5]["learning_rate/head"] == pytest.approx(rate * still["head_lr"])


def test_unchanged_fork_of_a_stopped_run_trains_no_step(fork: Train, tmp_path: Path) -> None:
    still: dict[str, Any] = {
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",
        "patience": 2,
        "hook": [],
        "timeline": [],
    }
    first = fork("first", fork=None, **still)
    assert first["steps"] == 3
    again = fork("again", fork=str(tmp_path / "first"), **still)
    assert (again["steps"], again["stopped_because"]) == (3, first["stopped_because"])
    assert again["weights_sha256"] == first["weights_sha256"]
    harmless = {"log_every": 3, "keep": 3, "save_every": None, "evaluation_batch_size": 5, "num_threads": 2}
    otherwise = fork("otherwise", fork=str(tmp_path / "first"), **still | harmless)
    assert (otherwise["steps"], otherwise["weights_sha256"]) == (3, first["weights_sha256"])
    longer = fork("longer", fork=str(tmp_path / "first"), **still | {"patience": 4})
    assert longer["steps"] == 5


def test_edit_is_done_only_where_the_parent_did_that_very_entry(fork: Train, tmp_path: Path) -> None:
    # The same edit as the parent's at step 2, at another time and under another entry.
    fork(timeline=[{"at": "6st", "freeze": "encoder.layer[0]"}])
    assert journal_of(tmp_path / "fork") == [(2, "freeze"), (6, "freeze")]


def test_repeated_edits_of_a_fork_fall_on_the_runs_own_steps(fork: Train, tmp_path: Path) -> None:
    every = {"every": "2st", "scale_lr": 0.5}
    fork("added", timeline=[every])
    assert journal_of(tmp_path / "added") == [(2, "freeze"), *((step, "scale_lr") for step in (4, 6, 8, 10))]
    fork("first", fork=None, timeline=[every])
    fork("inherited", fork=f"{tmp_path / 'first'}@4", timeline=[every])
    assert journal_of(tmp_path / "inherited") == journal_of(tmp_path / "first")


def test_fork_after_a_condition_that_came_true(fork: Train, tmp_path: Path) -> None:
    timeline = [{"when": "below(validation/loss, 9)", "add_lora": {"r": 2}}]
    first = fork("first", fork=None, timeline=timeline)
    again = fork("again", fork=f"{tmp_path / 'first'}@4", timeline=timeline)
    assert again["weights_sha256"] == first["weights_sha256"]
    assert journal_of(tmp_path / "again") == journal_of(tmp_path / "first") == [(2, "add_lora")]


@pytest.mark.parametrize("on_conflict", ["skip", "error"])
def test_fork_may_begin_where_a_conditional_edit_is_no_longer_possible(
    fork: Train, tmp_path: Path, on_conflict: str
) -> None:
    waiting = {"when": "below(validation/loss, 0)", "reinitialize": "encoder.layer[-1]", "on_conflict": on_conflict}
    timeline = [{"at": "3st", "add_lora": {"r": 2}}, waiting]
    first = fork("first", fork=None, timeline=timeline)
    again = fork("again", fork=f"{tmp_path / 'first'}@4", timeline=timeline)
    assert again["weights_sha256"] == first["weights_sha256"]


@pytest.mark.parametrize(("optimizer", "name"), [("adamw", "betas"), ("sgd", "momentum")])
def test_fork_away_from_a_moving_momentum_has_its_own(fork: Train, tmp_path: Path, optimizer: str, name: str) -> None:
    seen = []

    class Sees(Hook):
        def after_step(self, run: Run) -> None:
            seen.append(run.optimizer.param_groups[0][name])

    moving = {"schedule": {"name": "one_cycle", "cycle_momentum": True}, "optimizer": optimizer, "timeline": []}
    fork("first", fork=None, **moving)
    fork("second", fork=f"{tmp_path / 'first'}@4", hooks=[Sees()], **moving | {"schedule": "constant"})
    fork("never", fork=None, hooks=[Sees()], **moving | {"schedule": "constant"})
    assert len(seen) == 8 + 12
    assert len(set(seen)) == 1


@pytest.mark.parametrize(("before", "after"), [("plateau", "linear"), ("linear", "plateau")])
def test_fork_may_leave_or_take_a_schedule_that_follows_the_loss(
    fork: Train, tmp_path: Path, before: str, after: str
) -> None:
    fork("first", fork=None, schedule=before, timeline=[], evaluate_every="1st")
    result = fork("second", fork=f"{tmp_path / 'first'}@4", schedule=after, timeline=[], evaluate_every="1st")
    fork("alone", fork=None, schedule=after, timeline=[], evaluate_every="1st")
    assert result["steps"] == 12
    if after == "linear":
        own, others = (
            [line["learning_rate/head"] for line in lines_of(tmp_path / run)[4:]] for run in ("second", "alone")
        )
        assert own == others


def test_resume_from_an_earlier_checkpoint_abandons_the_later_ones(
    fork: Train, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails(Hook):
        def __init__(self, step: int | None = None) -> None:
            self.step = step

        def end_of_step(self, run: Run) -> None:
            if run.clock.step == self.step:
                raise ValueError("enough")

    checkpoints = tmp_path / "run" / "checkpoints"
    saves: dict[str, Any] = {"fork": None, "save_every": "2st"}
    whole = fork("run", hooks=[Fails()], **saves)
    earlier = str(checkpoints / "step-00000004")
    with pytest.raises(ValueError, match="enough"):
        fork("run", keep=2, resume=earlier, hooks=[Fails(7)], **saves)
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000004", "step-00000006"]
    capsys.readouterr()
    again = fork("run", keep=2, resume="auto", hooks=[Fails()], **saves)
    assert again["resumed_from"] == "step-00000006"
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000010", "step-00000012"]

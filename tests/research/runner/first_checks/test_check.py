"""What is plainly wrong is refused before torch is imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research.runner.first_checks.check import check_first
from research.runner.first_checks.places import check_run_directory
from research.settings.command_line import merge_recipes
from research.settings.config import RunConfig
from research.settings.forks import parse_fork
from research.system.errors import is_for_the_user
from tests.conftest import ROOT
from tests.rights import modes_count


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"plugin": ["missing.py"]}, "missing.py"),
        ({"plugin": ["no_such_module.part"]}, "no_such_module.part"),
        ({"resume": "runs/nothing"}, "runs/nothing"),
        ({"data": "reveiws.csv"}, "Did you mean 'reviews.csv'"),
        ({"data": "a/b/c"}, "--data"),
        ({"data": "reveiws.csv", "plugin": ["json"]}, "Did you mean 'reviews.csv'"),
        ({"encoder": "./nothing"}, "--encoder"),
        ({"init_from": "runs/nothing"}, "--init_from"),
        ({"data": "a" * 5000}, "File name too long"),
        ({"data": "imbd"}, "Did you mean 'imdb'?"),
        ({"head": "ltsm"}, "Unknown head 'ltsm'. Did you mean 'lstm'?"),
        ({"head": {"name": "lstm", "lstm_sise": 8}}, "Unknown option of head 'lstm' 'lstm_sise'. Did you mean 'lstm_s"),
        ({"schedule": {"name": "linear", "num_warmup_steps": 8}}, "Unknown option of schedule 'linear'"),
        ({"hook": ["ema", "fgn"]}, "Unknown hook 'fgn'. Did you mean 'fgm'?"),
        ({"objective": "focl"}, "Unknown objective 'focl'. Did you mean 'focal'?"),
        ({"peft": "lorra"}, "Unknown peft 'lorra'. Did you mean 'lora'?"),
        ({"cleaning": ["lowercas"]}, "Unknown cleaning step 'lowercas'. Did you mean 'lowercase'?"),
        (
            {"timeline": [{"at": "1st", "frezze": "head"}]},
            "timeline entry 1: Unknown edit 'frezze'. Did you mean 'free",
        ),
        ({"warmup": "soon"}, "--warmup: Cannot read the time 'soon'"),
        ({"timeline": [{"at": "3x", "freeze": "head"}]}, "timeline entry 1: Cannot read the time '3x'"),
        ({"timeline": [{"every": 3, "freeze": "head"}]}, "timeline entry 1: Cannot read the time '3'"),
    ],
)
def test_check_first_refuses_what_is_not_there(
    settings: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").touch()
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        check_first(RunConfig(**settings))
    assert is_for_the_user(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "imdb", "encoder": "minilm"},
        {"data": "hub:a/b.c:d", "encoder": "sentence-transformers/all-MiniLM-L6-v2"},
        {"data": "reviews.csv", "plugin": ["my_head.py", "package.module"], "head": "mine", "hook": ["mine"]},
        {"data": "my_films", "plugin": ["my_head.py"]},
        {
            "hook": [{"name": "ema", "decay": 0.9}],
            "timeline": [{"when": "below(validation/loss, 1)", "freeze": "head"}],
        },
    ],
)
def test_check_first_accepts_what_may_be_there(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("reviews.csv", "my_head.py", "package/__init__.py"):
        (tmp_path / name).touch()
    check_first(RunConfig(**settings))


@pytest.mark.parametrize("name", ["data", "encoder", "init_from"])
@pytest.mark.parametrize(
    "path", ["~nosuchuser/a", "./" + "x" * 5000, "./" + "a" * 300, "./caf\udce9.csv", "./locked/a.csv", "./two\nlines"]
)
def test_paths_that_cannot_be_looked_up_are_refused_in_one_line(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    settings: dict[str, Any] = {name: path}
    with modes_count(), pytest.raises(ValueError, match=r"Cannot read|no file or folder") as caught:
        check_first(RunConfig(**settings))
    assert is_for_the_user(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "refuse",
    [
        lambda path: check_first(RunConfig(resume=path)),
        lambda path: check_first(RunConfig(plugin=[f"{path}.py"])),
        parse_fork,
        merge_recipes,
    ],
    ids=["resume", "plugin", "fork", "recipe"],
)
@pytest.mark.parametrize("path", ["x" * 5000, "locked/a"])
def test_other_paths_that_cannot_be_looked_up_are_refused(
    refuse: Callable[[str], object], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    with modes_count(), pytest.raises(ValueError, match=r"Cannot read .*: (File name too long|Permission denied)\."):
        refuse(path)


def test_recipe_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.yaml is not YAML"):
        merge_recipes(str(tmp_path / "deep.yaml"))


ENTRY = "--timeline={{{}}}".format
REFUSED = [
    (["run.py", "--data", "missing.csv"], "no file or folder"),
    (["run.py", "--head", "ltsm"], "Did you mean 'lstm'?"),
    (["run.py", "--head=lstm", "--head.lstm_size=-4"], "Expected lstm_size of 1 or more, got -4"),
    (["run.py", "--head=lstm", "--head.lstm_size=big"], "Expected lstm_size to be of type int; got 'big'"),
    (["run.py", "--head=lstm", "--head.pooling=men"], "Did you mean 'mean'?"),
    (["run.py", "--head.dropout=1.5"], "Expected dropout from 0 to below 1, got 1.5"),
    (["run.py", "--hook=ema", "--hook.ema.decay=2"], "The hook 'ema': Expected decay from 0 to below 1"),
    (["run.py", "--hook=length_warmup", "--hook.length_warmup.over=soon"], "Cannot read the time 'soon'"),
    (["run.py", "--hook=early_stopping", "--hook.early_stopping.metric=acuracy"], "Did you mean 'accuracy'?"),
    (["run.py", "--schedule=polynomial", "--schedule.end=3"], "Expected end from 0 to below 1"),
    (["run.py", "--objective=mse", "--objective.gamma=1"], "Unknown option of objective 'mse' 'gamma'"),
    (["run.py", "--encoding=utf-9"], "Unknown encoding 'utf-9'. Did you mean 'utf-8'?"),
    (["run.py", "--log_with=tensorbord"], "Did you mean 'tensorboard'?"),
    (["run.py", "--best_metric=acuracy"], "Did you mean 'accuracy'?"),
    (["run.py", "--best_metric=pearson", "--task=single_label"], "Unknown metric 'pearson'"),
    (["run.py", "--task=regresion"], "Unknown task 'regresion'. Did you mean 'regression'?"),
    (["run.py", "--encoder=no such id!"], "cannot be a Hub id"),
    (["run.py", "--encoder=minilmm"], "Did you mean 'minilm'?"),
    (["run.py", "--encoder=./taken"], "has no config.json"),
    (["run.py", "--init_from=taken"], "No saved model in taken"),
    (["run.py", "--output_dir=taken"], "The run directory taken exists"),
    (["run.py", "--resume=auto"], "needs --name or --output_dir"),
    (["run.py", "--freeze=encodr"], "--freeze: Unknown selector 'encodr'. Did you mean 'encoder'?"),
    (["run.py", ENTRY("freeze: encoder")], "timeline entry 1: expected exactly one of at, every, when, got none"),
    (["run.py", ENTRY("at: 1st, every: 2st, freeze: head")], "expected exactly one of at, every, when, got at, every"),
    (["run.py", ENTRY("at: 1st")], "expected an edit beside the time"),
    (["run.py", ENTRY("every: 0st, freeze: head")], "expected a time above 0"),
    (["run.py", ENTRY("at: 1st, on_conflict: skip, freeze: head")], "on_conflict is for entries with 'when'"),
    (["run.py", ENTRY("when: 'plato(validation/loss, 2)', freeze: head")], "Did you mean 'plateau'?"),
    (["run.py", ENTRY("when: 'above(validation/acuracy, 1)', freeze: head")], "Did you mean 'accuracy'?"),
    (["run.py", "--evaluate_every=null", ENTRY("when: 'above(validation/loss, 1)', freeze: head")], "never come true"),
    (["run.py", "--max_steps=10", ENTRY("at: 50st, freeze: head")], "never reached: the run has 10"),
    (["run.py", ENTRY("at: 1st, freeze: 'encoder.layer[x]'")], "Cannot read the selector"),
    (["run.py", ENTRY("at: 1st, set_lr: fast")], "Expected lr to be of type float; got 'fast'"),
    (["run.py", ENTRY("at: 1st, set_lr: -1")], "Expected an lr above 0"),
    (["run.py", ENTRY("at: 1st, freeze: {modules: head, how: soon}")], "Unknown argument of edit 'freeze' 'how'"),
    (["run.py", ENTRY("at: 1st, merge_lora: 3")], "The edit 'merge_lora' takes no arguments"),
    (["run.py", ENTRY("at: 1st, replace_head: ltsm")], "timeline entry 1: Unknown head 'ltsm'. Did you mean 'lstm'?"),
    (["ablate.py", "--heads", "linear,ltsm", "--seeds", "0,1"], "Did you mean 'lstm'?"),
    (["ablate.py", "--grid", "best_metric=accuracy,acuracy"], "best_metric=acuracy: Unknown metric 'acuracy'"),
    (["ablate.py", "--heads", "linear,lstm", "--metric", "acuracy"], "Did you mean 'accuracy'?"),
    (["ablate.py", "--heads", "linear,lstm", "--accelerate_config", "missing.yaml"], "Cannot read --accelerate_config"),
    (["verify_resume.py", "--hook", "emma"], "Did you mean 'ema'?"),
    (["verify_resume.py", "--cuts", "-1"], "Expected --cuts of 0 or more"),
    (["verify_resume.py", "--accelerate_config", "missing.yaml"], "no file missing.yaml"),
    (["verify_resume.py", "--folder", "taken"], "taken exists"),
]
"""Commands, and a part of the one line with which each is refused."""
WITHOUT_TORCH = """
import contextlib, io, json, runpy, sys
sys.modules["torch"] = None  # an import of it is an error
for script, *arguments in json.load(sys.stdin):
    sys.argv = [script, *arguments]
    printed = io.StringIO()
    status = None
    with contextlib.redirect_stderr(printed):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    print(json.dumps([status, printed.getvalue()]))
"""


def test_commands_are_refused_in_one_line_without_importing_torch(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    commands = [[str(ROOT / "experiments" / script), *arguments] for (script, *arguments), _ in REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=tmp_path,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for (command, expected), (status, printed) in zip(REFUSED, found, strict=True):
        assert status in (1, 2), (command, printed)
        assert printed.startswith("error: "), (command, printed)
        assert printed.count("\n") == 1, (command, printed)
        assert expected in printed, (command, printed)
    assert sorted(tmp_path.rglob("*")) == before


def test_directory_that_exists_may_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = RunConfig(output_dir=str(tmp_path))
    check_first(config)  # as for --dry_run and --print_config
    with pytest.raises(ValueError, match="exists"):
        check_run_directory(config)


def test_parents_of_a_run_that_is_resumed_may_be_gone(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    check_first(RunConfig(output_dir=str(tmp_path), resume="auto", init_from=gone, fork=gone))
    with pytest.raises(ValueError, match="no run directory"):
        check_first(RunConfig(fork=gone))

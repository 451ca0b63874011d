"""Obvious mistakes in settings are reported before torch is imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from research.runner.first_checks.check import check_first
from research.settings.command_line import merge_recipes
from research.settings.config import RunConfig
from research.system.errors import is_user_facing
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"plugin": ["missing.py"]}, r"missing\.py"),
        ({"plugin": ["no_such_module.part"]}, r"'no_such_module\.part'"),
        ({"resume": "runs/nothing"}, "runs/nothing"),
        ({"data": "reveiws.csv"}, r"'reveiws\.csv' for --data.*'reviews\.csv'"),
        # A plugin may add data sources, but paths of files are still checked. `json` stands for any importable module.
        ({"data": "reveiws.csv", "plugin": ["json"]}, r"'reviews\.csv'"),
        ({"head": "ltsm"}, "head 'ltsm'.*'lstm'"),
        ({"timeline": [{"at": "5st", "frezze": "head"}]}, "timeline entry 1: .*'frezze'.*'freeze'"),
        ({"warmup": "soon"}, "--warmup: .*'soon'"),
        ({"evaluate_every": "0st"}, "--evaluate_every .*'0st'"),
        ({"evaluate_every": None, "patience": 2}, "--patience .*--evaluate_every"),
        ({"encoding": "utf-9"}, "'utf-9'.*'utf-8'"),
        ({"best_metric": "acuracy"}, "'acuracy'.*'accuracy'"),
        ({"log_with": ["tensorbord"]}, "'tensorbord'.*'tensorboard'"),
    ],
)
def test_check_first_rejects_obvious_mistakes(
    settings: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").touch()
    with pytest.raises(ValueError, match=expected) as caught:
        check_first(RunConfig(**settings))
    assert is_user_facing(caught.value)


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
def test_check_first_accepts_valid_settings_and_names_that_may_exist(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("reviews.csv", "my_head.py", "package/__init__.py"):
        (tmp_path / name).touch()
    check_first(RunConfig(**settings))


def test_deeply_nested_recipe_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.yaml .*YAML"):
        merge_recipes(str(tmp_path / "deep.yaml"))


def timeline_flag(entry: str) -> str:
    """Return the flag for a timeline with one entry, given as a YAML mapping without its braces."""
    return f"--timeline={{{entry}}}"


REJECTED_COMMANDS = [
    (["run.py", "--data", "missing.csv"], r"'missing\.csv' for --data"),
    (["run.py", "--head", "ltsm"], "head 'ltsm'.*'lstm'"),
    (["run.py", "--head=lstm", "--head.lstm_size=-4"], "lstm_size .*-4"),
    (["run.py", "--head=lstm", "--head.lstm_size=big"], "lstm_size .*int.*'big'"),
    (["run.py", "--head=lstm", "--head.pooling=men"], "'men'.*'mean'"),
    (["run.py", "--head=linear", "--head.dropout=1.5"], r"dropout .*1\.5"),
    (["run.py", "--hook=ema", "--hook.ema.decay=2"], r"hook 'ema': .*decay .*\b2"),
    (["run.py", "--hook=length_warmup", "--hook.length_warmup.over=soon"], "hook 'length_warmup': .*'soon'"),
    (["run.py", "--hook=early_stopping", "--hook.early_stopping.metric=acuracy"], "'acuracy'.*'accuracy'"),
    (["run.py", "--schedule=polynomial", "--schedule.end=3"], r"\bend .*\b3"),
    (["run.py", "--objective=mse", "--objective.gamma=1"], "'gamma'.*objective 'mse'"),
    (["run.py", "--encoding=utf-9"], "encoding 'utf-9'.*'utf-8'"),
    (["run.py", "--log_with=tensorbord"], "'tensorbord'.*'tensorboard'"),
    (["run.py", "--best_metric=acuracy"], "'acuracy'.*'accuracy'"),
    (["run.py", "--best_metric=pearson", "--task=single_label"], "metric 'pearson'"),
    (["run.py", "--task=regresion"], "task 'regresion'.*'regression'"),
    (["run.py", "--encoder=no such id!"], "'no such id!'"),
    (["run.py", "--encoder=minilmm"], "'minilmm'.*'minilm'"),
    (["run.py", "--encoder=./taken"], r"taken .*config\.json"),
    (["run.py", "--init_from=taken"], "model in taken"),
    (["run.py", "--output_dir=taken"], "directory taken"),
    (["run.py", "--resume=auto"], "--name or --output_dir"),
    (["run.py", "--freeze=encodr"], "--freeze: .*'encodr'.*'encoder'"),
    (["run.py", timeline_flag("freeze: encoder")], "timeline entry 1: .*at, every, when, got none"),
    (["run.py", timeline_flag("at: 5st, every: 2st, freeze: head")], "at, every, when, got at, every"),
    (["run.py", timeline_flag("at: 5st")], "timeline entry 1: .*edit"),
    (["run.py", timeline_flag("every: 0st, freeze: head")], "timeline entry 1: .*above 0"),
    (["run.py", timeline_flag("at: 5st, on_conflict: skip, freeze: head")], "on_conflict .*'when'"),
    (["run.py", timeline_flag("when: 'plato(validation/loss, 2)', freeze: head")], "'plato'.*'plateau'"),
    (["run.py", timeline_flag("when: 'above(validation/acuracy, 1)', freeze: head")], "'acuracy'.*'accuracy'"),
    (
        ["run.py", "--evaluate_every=null", timeline_flag("when: 'above(validation/loss, 1)', freeze: head")],
        r"above\(validation/loss, 1\).* 0\b.*--evaluate_every",
    ),
    (["run.py", "--max_steps=10", timeline_flag("at: 50st, freeze: head")], r"50st .*\b10\b"),
    (["run.py", timeline_flag("at: 5st, freeze: 'encoder.layer[x]'")], r"encoder\.layer\[x\]"),
    (["run.py", timeline_flag("at: 5st, set_lr: fast")], r"\blr .*float.*'fast'"),
    (["run.py", timeline_flag("at: 5st, set_lr: -1")], r"\blr .*-1"),
    (["run.py", timeline_flag("at: 5st, freeze: {modules: head, how: soon}")], "'how'.*edit 'freeze'"),
    (["run.py", timeline_flag("at: 5st, merge_lora: 3")], "'merge_lora' .*arguments"),
    (["run.py", timeline_flag("at: 5st, replace_head: ltsm")], "timeline entry 1: .*'ltsm'.*'lstm'"),
    (["ablate.py", "--heads", "linear,ltsm", "--seeds", "0,1"], "'ltsm'.*'lstm'"),
    (["ablate.py", "--grid", "best_metric=accuracy,acuracy"], "best_metric=acuracy: .*'acuracy'"),
    (["ablate.py", "--heads", "linear,lstm", "--metric", "acuracy"], "'acuracy'.*'accuracy'"),
    (["ablate.py", "--heads", "linear,lstm", "--accelerate_config", "missing.yaml"], "--accelerate_config missing"),
    (["verify_resume.py", "--hook", "emma"], "'emma'.*'ema'"),
    (["verify_resume.py", "--cuts", "-1"], "--cuts .*-1"),
    (["verify_resume.py", "--accelerate_config", "missing.yaml"], r"missing\.yaml"),
    (["verify_resume.py", "--folder", "taken"], "taken exists"),
    (["verify_resume.py", "--name", "mine"], "--name.*--folder"),
    (["verify_resume.py", "--list", "heads"], "--list"),
]
"""Commands, with a pattern for the one-line error of each."""
WITHOUT_TORCH = """
import contextlib, io, json, runpy, sys
sys.modules["torch"] = None  # makes `import torch` fail
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
"""Code that runs several commands in a process that cannot import torch, and prints the result of each as JSON."""


def test_invalid_commands_print_one_line_without_importing_torch(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    commands = [[str(ROOT / "experiments" / script), *arguments] for (script, *arguments), _ in REJECTED_COMMANDS]
    completed = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        cwd=tmp_path,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    results = [json.loads(line) for line in completed.stdout.splitlines()]
    for (command, expected), (status, printed) in zip(REJECTED_COMMANDS, results, strict=True):
        assert status in (1, 2), (command, printed)
        assert printed.startswith("error: "), (command, printed)
        assert printed.count("\n") == 1, (command, printed)
        assert re.search(expected, printed), (command, printed)
    assert sorted(tmp_path.rglob("*")) == before

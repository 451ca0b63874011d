"""What is plainly wrong is refused before torch is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from research.cli import merge_recipes
from research.config import RunConfig
from research.first_checks import check_first
from research.forks import parse_fork
from research.user_errors import is_for_the_user
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
    settings: dict[str, object], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").touch()
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        check_first(RunConfig(**settings))  # type: ignore[arg-type]
    assert is_for_the_user(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "imdb", "encoder": "minilm"},
        {"data": "hub:a/b.c:d", "encoder": "sentence-transformers/all-MiniLM-L6-v2"},
        {"data": "reviews.csv", "plugin": ["my_head.py", "package.module"], "head": "mine", "hook": ["mine"]},
        {
            "hook": [{"name": "ema", "decay": 0.9}],
            "timeline": [{"when": "below(validation/loss, 1)", "freeze": "head"}],
        },
    ],
)
def test_check_first_accepts_what_may_be_there(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("reviews.csv", "my_head.py", "package/__init__.py"):
        (tmp_path / name).touch()
    check_first(RunConfig(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["data", "encoder", "init_from"])
@pytest.mark.parametrize(
    "path", ["~nosuchuser/a", "./" + "x" * 5000, "./" + "a" * 300, "./caf\udce9.csv", "./locked/a.csv", "./two\nlines"]
)
def test_paths_that_cannot_be_looked_up_are_refused_in_one_line(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    with modes_count(), pytest.raises(ValueError, match=r"Cannot read|no file or folder") as caught:
        check_first(RunConfig(**{name: path}))  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    "command",
    [
        ["run.py", "--data", "missing.csv"],
        ["run.py", "--head", "ltsm"],
        ["ablate.py", "--heads", "linear,ltsm", "--seeds", "0,1"],
        ["verify_resume.py", "--hook", "emma"],
    ],
)
def test_run_is_refused_without_importing_torch(tmp_path: Path, command: list[str]) -> None:
    code = (
        f"import runpy, sys\nsys.argv = {command!r}\n"
        f"try:\n    runpy.run_path({str(ROOT / 'experiments' / command[0])!r}, run_name='__main__')\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["1", "False"]
    assert done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())

"""Commands of run.py, except those that train."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from research import RunConfig
from research.runner.main import execute
from research.settings.command_line import parse


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_print_config_prints_settings_with_all_options_and_creates_no_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert execute(parse(["--head=lstm", "--head.lstm_size=9", "--mixed_precision=no", "--print_config"])) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["head"]["lstm_size"] == 9
    assert printed.keys() <= RunConfig().to_dict().keys()
    assert RunConfig(**printed).epochs == RunConfig().epochs
    assert list(tmp_path.iterdir()) == []


def test_list_and_help_do_not_check_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(parse(["--list=hooks", "--data=nothing"])) == 0
    assert "ema" in capsys.readouterr().out.splitlines()
    assert execute(parse(["--help", "--head=lstm", "--data=nothing"])) == 0
    printed = capsys.readouterr().out
    assert printed.index("--batch_size") < printed.index("head lstm, ") < printed.index("lstm_size")


def test_invalid_settings_are_rejected_by_every_command_that_uses_them(tmp_path: Path) -> None:
    for flags in ([], ["--dry_run"], ["--print_config"]):
        with pytest.raises(ValueError, match="'nothing'"):
            execute(parse(["--data=nothing", *flags]))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    with pytest.raises(ValueError, match=r"\brun\b"):
        execute(parse(["--output_dir=run"]))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["file"]

"""The checkpoint at which a fork starts, and the settings that the fork inherits."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.settings.forks import parse_fork, read_inherited_settings, read_settings


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a working directory with the runs a and a@b, and return its folder runs/."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a@b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text(f"name: {name}\nlr: 0.5\n", encoding="utf-8")
    return tmp_path / "runs"


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("text", "name", "step"),
    [
        ("runs/a", "a", None),
        ("runs/a@step-400", "a", 400),
        ("runs/a@400", "a", 400),
        ("runs/a@step-00000400", "a", 400),
        ("runs/a@", "a", None),
        ("runs/a@b@7", "a@b", 7),
        ("./runs/a@b/", "a@b", None),
    ],
)
def test_parse_fork_returns_run_and_step(text: str, name: str, step: int | None) -> None:
    fork_point = parse_fork(text)
    assert fork_point.step == step
    assert fork_point.run.samefile(Path("runs") / name)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("text", ["runs/a@last", "runs/a@-1", "runs/a@step-", "runs/a@step_4"])
def test_parse_fork_rejects_invalid_steps(text: str) -> None:
    with pytest.raises(ValueError, match=f"@step-400.*'{text}'"):
        parse_fork(text)


def test_parse_fork_rejects_a_directory_without_a_run(runs: Path) -> None:
    (runs / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(ValueError, match=rf"runs/{name} .*config\.yaml"):
            parse_fork(f"runs/{name}@4")


@pytest.mark.usefixtures("runs")
def test_read_inherited_settings_returns_the_settings_of_the_parent() -> None:
    assert read_inherited_settings("runs/a@400") == {"name": "a", "lr": 0.5}


@pytest.mark.parametrize("content", [b"lr: [", b"\xff\xfe", b"- lr", b"", None])
def test_read_settings_error_contains_the_run_and_its_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the parent, .*config\.yaml") as caught:
        read_settings(path, "the parent")
    assert "\n" not in str(caught.value)

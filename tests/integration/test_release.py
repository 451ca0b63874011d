"""Problems that `make release` finds before it builds anything."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.release import find_problems, read_version

TODAY = dt.date(2026, 2, 3)


def git(repository: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", *author, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that can be released as 1.2.0."""
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = midway\nversion = 1.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [1.2.0] - 2026-02-03\n- News.\n\n## [1.1.0] - 2026-01-01\n"
    )
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "Version 1.2.0")
    git(tmp_path, "tag", "v1.1.0")
    return tmp_path


def test_find_problems_returns_nothing_for_a_releasable_repository(repository: Path) -> None:
    assert find_problems(repository, read_version(repository), TODAY) == []


def change_file(repository: Path) -> None:
    (repository / "setup.cfg").write_text("[metadata]\nname = midway\nversion = 1.2.0\n\n")


def add_file(repository: Path) -> None:
    (repository / "new.py").touch()


def tag_version(repository: Path) -> None:
    git(repository, "tag", "v1.2.0")


def write_heading(heading: str) -> Callable[[Path], None]:
    """Return a function that commits a changelog with this heading."""

    def write(repository: Path) -> None:
        (repository / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n- News.\n\n## [1.2.0] - 2026-02-03\n")
        git(repository, "commit", "--all", "--message", "Changelog")

    return write


@pytest.mark.parametrize(
    ("change", "expected_parts"),
    [
        (change_file, ["last commit"]),
        (add_file, ["last commit"]),
        (tag_version, ["v1.2.0"]),
        (write_heading("## [1.2.0] - Unreleased"), ["[1.2.0] - Unreleased", "[1.2.0] - 2026-02-03"]),
        (write_heading("## [1.2.0] - 2026-02-02"), ["[1.2.0] - 2026-02-02", "[1.2.0] - 2026-02-03"]),
        (write_heading("## [1.3.0] - 2026-02-03"), ["[1.3.0] - 2026-02-03", "[1.2.0] - 2026-02-03"]),
    ],
)
def test_find_problems_describes_the_problem(
    repository: Path, change: Callable[[Path], None], expected_parts: list[str]
) -> None:
    change(repository)
    (problem,) = find_problems(repository, read_version(repository), TODAY)
    assert all(part in problem for part in expected_parts)


def test_version_and_changelog_name_the_same_release() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line.startswith("## ")).startswith(f"## [{read_version(ROOT)}] - ")

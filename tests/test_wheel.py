"""A run and a study of the built package, without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.limits import HANG_LIMIT

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel contains."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    files = [path for pattern in ("heads/**/*", "research/**/*") for path in ROOT.glob(pattern) if path.is_file()]
    for path in [*files, *(ROOT / name for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"))]:
        if "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_wheel_has_all_modules_and_templates(installed: Path) -> None:
    for package in ("heads", "research"):
        own = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert {path.relative_to(installed) for path in (installed / package).rglob("*.py")} == own
        assert (installed / package / "py.typed").exists()
    templates = {path.name for path in (ROOT / "research" / "report" / "templates").iterdir()}
    assert {path.name for path in (installed / "research" / "report" / "templates").iterdir()} == templates


def test_study_of_launched_runs_works_from_the_wheel(
    installed: Path, tiny_encoder: Path, tiny_reviews: Path, user_environment: dict[str, str], tmp_path: Path
) -> None:
    settings = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", 16, "--batch_size", 8]
    settings += ["--max_steps", 2, "--log_with", "[]", "--name", "study", "--heads", "linear", "--seeds", "0"]
    code = "import sys, research; assert research.__file__.startswith(sys.argv.pop(1)), research.__file__"
    script = f"{code}; from research.studies.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, str(installed), *map(str, settings)],
        cwd=tmp_path,
        env={**os.environ, **user_environment, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_LIMIT,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs/study").glob("trials/*/result.json")]
    assert [result["status"] for result in results] == ["finished"]
    assert (tmp_path / "runs/study/report.html").exists()

"""Run the package and a study from an installed wheel, without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.limits import HANG_LIMIT

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the installed wheel. It uses the dependencies that the tests' environment has."""
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
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    pip = [str(Path(sys.base_prefix, "bin", "python3")), "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True, cwd=folder
    )
    # Python searches the folders listed in a .pth file last, and ignores .pth files inside these folders. In the tests'
    # environment, the repository is installed in editable mode, with a .pth file. So it cannot be imported here.
    (site_packages_of(environment) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def site_packages_of(environment: Path) -> Path:
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    return site_packages


def test_wheel_has_all_modules_and_templates(wheel_environment: Path) -> None:
    site_packages = site_packages_of(wheel_environment)
    for package in ("heads", "research"):
        modules = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert {path.relative_to(site_packages) for path in (site_packages / package).rglob("*.py")} == modules
        assert (site_packages / package / "py.typed").exists()
    templates = {path.relative_to(ROOT) for path in (ROOT / "research").rglob("*.html")}
    assert {path.relative_to(site_packages) for path in (site_packages / "research").rglob("*.html")} == templates


def test_run_and_study_work_from_installed_wheel(
    wheel_environment: Path, tiny_encoder: Path, tiny_reviews: Path, user_environment: dict[str, str], tmp_path: Path
) -> None:
    def run_python(*arguments: object) -> str:
        done = subprocess.run(
            [str(wheel_environment / "bin" / "python"), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **user_environment, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_LIMIT,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    assert run_python("-c", "import research; print(research.__file__)").startswith(str(wheel_environment))
    settings = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", 16, "--batch_size", 8]
    settings += ["--max_steps", 2, "--log_with", "[]", "--mixed_precision", "no"]
    run_python("-m", "research.scripts.run", *settings, "--name", "run")
    assert json.loads((tmp_path / "runs/run/result.json").read_text())["status"] == "finished"
    assert "accelerate launch -m research.scripts.run --recipe " in (tmp_path / "runs/run/report.html").read_text()
    run_python("-m", "research.scripts.ablate", *settings, "--name", "study", "--heads", "mean")
    (result,) = (tmp_path / "runs/study").glob("trials/*/result.json")
    assert json.loads(result.read_text())["status"] == "finished"
    assert "-m research.scripts.run --recipe " in (tmp_path / "runs/study/report.html").read_text()

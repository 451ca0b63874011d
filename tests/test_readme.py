"""The README's fenced blocks run as they stand: commands with --smoke, Python as files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_to_the_end
from tests.limits import HANG_LIMIT

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
RECIPES = [block for kind, block in BLOCKS if kind == "yaml"]
PROGRAMS = [block for kind, block in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like the repository's root, where runs/ may be written."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("experiments", "accelerate_configs"):
        (folder / name).symlink_to(ROOT / name)
    for program in PROGRAMS:
        named = re.match(r"# (\w+\.py)\n", program)
        if named:
            (folder / named[1]).write_text(program, encoding="utf-8")
    return folder


STARTS = {
    "python": [sys.executable],
    "accelerate launch": [sys.executable, "-m", "accelerate.commands.launch"],
}
"""What the shell finds behind a command's first words, as the environment's folder of programs has it."""


def as_arguments(command: str) -> list[str] | None:
    """Return a command of README as arguments, None if it needs a shell."""
    for words, start in STARTS.items():
        if command.startswith(f"{words} ") and not re.search(r"[|><;&$]", command):
            return [*start, *shlex.split(command.removeprefix(words))]
    return None


def run(arguments: list[str] | str, folder: Path, cache_dir: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MIDWAY_CACHE": str(cache_dir),
    }
    plain = as_arguments(arguments) if isinstance(arguments, str) else arguments
    if plain is not None:
        done = run_to_the_end(plain, folder, environment, HANG_LIMIT)
    else:
        done = subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            check=False,
            shell=True,
            timeout=HANG_LIMIT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def test_readme_has_blocks_of_all_kinds() -> None:
    assert len(COMMANDS) >= 4
    assert len(RECIPES) >= 1
    assert len(PROGRAMS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_command_runs(command: str, workplace: Path, cache_dir: Path) -> None:
    if re.search(r"(run|verify_resume|ablate)\.py", command) and "--list" not in command and "--help" not in command:
        command += " --smoke"
    run(command, workplace, cache_dir)


@pytest.mark.parametrize("recipe", RECIPES)
def test_readme_recipe_can_be_followed(recipe: str, workplace: Path, cache_dir: Path) -> None:
    (workplace / "from_readme.yaml").write_text(recipe, encoding="utf-8")
    command = [sys.executable, "experiments/run.py", "--recipe", "from_readme.yaml", "--dry_run"]
    run(command, workplace, cache_dir)


@pytest.mark.parametrize("program", PROGRAMS)
def test_readme_program_runs(program: str, workplace: Path, cache_dir: Path) -> None:
    (workplace / "program.py").write_text(program, encoding="utf-8")
    saved = workplace / "runs" / "my-run"
    if "runs/my-run" in program and not saved.exists():
        run([sys.executable, "experiments/run.py", "--smoke", "--name", "my-run"], workplace, cache_dir)
    run([sys.executable, "program.py"], workplace, cache_dir)

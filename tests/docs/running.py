"""Run the blocks of a page in order, as a reader would who follows the page."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tests.conftest import ROOT, run_command
from tests.docs.blocks import OUTPUT, RUN, Block, read_blocks
from tests.limits import HANG_LIMIT

INTERPRETERS = {
    "python": [sys.executable],
    "accelerate launch": [sys.executable, "-m", "accelerate.commands.launch"],
}
"""Arguments that replace the first words of a command, so that it runs in the environment of the tests."""
SCRIPT = re.compile(r"\b(?:experiments/|research\.scripts\.)(run|ablate|verify_resume)\b(?!(?:\.py)? work\b)")
TRAINS_NOTHING = re.compile(r"--(?:help|list|print_config)\b|\brun\b(?:\.py)?.*--dry_run\b")
"""Commands that train nothing. A dry run of a study is not one of them: it measures how long steps take."""
SHELL = re.compile(r"[|><;&]")
"""Operators that need a shell."""
DEFAULT_NAMES = {"python": "program.py", "yaml": "settings.yaml"}
"""File names of blocks that do not name a file."""
STUDY_KEYS = {"arms", "base", "grid"}
"""Keys that occur in study files but not in recipes."""


class Reader:
    """Runs the blocks of a page as a reader would.

    Args:
        folder: an empty directory to work in.
        environment: all environment variables.
        encoder: a small encoder for runs that do not name one.
        make_my_run: returns a directory with the files of a finished run.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], encoder: Path, make_my_run: Callable[[], Path]
    ) -> None:
        self.folder, self.environment, self.encoder, self.make_my_run = folder, environment, encoder, make_my_run
        for name in ("experiments", "accelerate_configs"):
            (folder / name).symlink_to(ROOT / name)

    def follow(self, page: Path) -> None:
        """Run all blocks of a page in order."""
        text = page.read_text(encoding="utf-8")
        if "runs/my-run" in text and "--name my-run" not in text:
            shutil.copytree(self.make_my_run(), self.folder / "runs" / "my-run")
        for block in read_blocks(page):
            self.run(block)

    def run(self, block: Block) -> None:
        """Save a block to its file if it has one, and run its commands."""
        if "not tested" in block.notes or block.language == OUTPUT:
            return
        assert block.language in RUN or block.title, (
            f"{block.place}: expected the language {', '.join(RUN)} or {OUTPUT}, or a block with a title; got "
            f"'{block.language}'"
        )
        name = block.file_name or DEFAULT_NAMES.get(block.language)
        if name is not None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(block.text, encoding="utf-8")
        status = int(block.notes.get("exits with", "0"))
        for command in self._commands(block, name):
            done = self._execute(command)
            assert done.returncode == status, (
                f"{block.place}: {command}\nexit status {done.returncode}, expected {status}\n"
                f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )

    def _commands(self, block: Block, name: str | None) -> Iterator[str]:
        if block.language == "bash":
            for command in commands_of(block.text):
                yield self._shorten(command, block.notes.get("tested with"))
        elif block.language == "python":
            yield f"python {name}"
        elif block.language == "yaml":
            is_study = bool(STUDY_KEYS & yaml.safe_load(block.text).keys())
            command = f"experiments/{'ablate.py --study' if is_study else 'run.py --recipe'} {name} --dry_run"
            yield self._shorten(f"python {command}", block.notes.get("tested with"))

    def _shorten(self, command: str, flags: str | None) -> str:
        """Return a command for a smaller run: with `--smoke` or the given flags, and a small encoder."""
        if not SCRIPT.search(command) or TRAINS_NOTHING.search(command):
            return command
        extra_flags = "--smoke" if flags is None else flags
        if not re.search(r"\bencoder=|--encoder\b", command):
            extra_flags += f" --encoder {self.encoder}"
        end = _end_of_command(command)
        return f"{command[:end].rstrip()} {extra_flags} {command[end:]}".rstrip()

    def _execute(self, command: str) -> subprocess.CompletedProcess[str]:
        arguments = as_arguments(command)
        if arguments is not None:
            return run_command(arguments, self.folder, self.environment, HANG_LIMIT)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            check=False,
            timeout=HANG_LIMIT,
            capture_output=True,
            text=True,
        )


def commands_of(text: str) -> list[str]:
    """Return the commands of a bash block, one per line, without comments and empty lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _end_of_command(command: str) -> int:
    """Return the position at which the first command of a pipeline or list ends."""
    without_quotes = re.sub(r"\"[^\"]*\"|'[^']*'", lambda quoted: "_" * len(quoted[0]), command)
    operator = SHELL.search(without_quotes)
    return operator.start() if operator else len(command)


def as_arguments(command: str) -> list[str] | None:
    """Return a command as a list of arguments, or None if it needs a shell."""
    for words, start in INTERPRETERS.items():
        if command.startswith(f"{words} ") and _end_of_command(command) == len(command) and "$" not in command:
            return [*start, *shlex.split(command.removeprefix(words), comments=True)]
    return None

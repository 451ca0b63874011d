"""Run the blocks of a page in order, as a reader who follows the page would."""

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
from tests.docs.blocks import OUTPUT_LANGUAGE, TESTED_LANGUAGES, Block, read_blocks
from tests.limits import HANG_LIMIT

INTERPRETERS = {
    "python": [sys.executable],
    "accelerate launch": [sys.executable, "-m", "accelerate.commands.launch"],
}
"""Arguments that replace the first words of a command, so that the command runs in the environment of the tests."""
SCRIPT = re.compile(r"\b(?:experiments/|research\.scripts\.)(run|ablate|verify_resume)\b(?!(?:\.py)? work\b)")
"""Matches a script of Midway, except `ablate.py work`, which does not accept the settings of a run."""
COMMAND_WITHOUT_TRAINING = re.compile(r"--(?:help|list|print_config)\b|\brun\b(?:\.py)?.*--dry_run\b")
"""Matches commands that train nothing. A dry run of a study does not match, because it trains to estimate the time."""
SHELL_OPERATOR = re.compile(r"[|><;&]")
"""Matches an operator that only a shell can interpret."""
DEFAULT_NAMES = {"python": "program.py", "yaml": "settings.yaml"}
"""File names of blocks that do not name a file."""
VARYING_WORDS = {"Loading", "libraries", "minilm", "threads"}
"""Words of outputs that depend on the machine's speed, on the encoder, or on the number of threads."""
STUDY_KEYS = {"arms", "base", "grid"}
"""Keys that occur in study files but not in recipes."""


class PageRunner:
    """Runs the blocks of a page as a reader would.

    Args:
        folder: an empty directory to work in.
        environment: all environment variables.
        encoder: a small encoder for runs that do not name one.
        make_my_run: returns the directory of a finished run, which pages can read as runs/my-run.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], encoder: Path, make_my_run: Callable[[], Path]
    ) -> None:
        self.folder, self.environment, self.encoder, self.make_my_run = folder, environment, encoder, make_my_run
        self._printed = ""  # by the commands of the previous block
        for name in ("experiments", "accelerate_configs"):
            (folder / name).symlink_to(ROOT / name)

    def run_page(self, page: Path) -> None:
        """Run all blocks of a page in order."""
        text = page.read_text(encoding="utf-8")
        if "runs/my-run" in text and "--name my-run" not in text:
            shutil.copytree(self.make_my_run(), self.folder / "runs" / "my-run")
        for block in read_blocks(page):
            self.run_block(block)

    def run_block(self, block: Block) -> None:
        """Save a block to a file and run its commands, or check that the output in the block was printed.

        Raises:
            AssertionError: if the block's language is not tested, a command ends with an unexpected exit status, or
                words of the output in the block were not printed.
        """
        if "not tested" in block.notes:
            self._printed = ""
            return
        if block.language == OUTPUT_LANGUAGE:
            if self._printed:
                self._check_shown_output(block)
            return
        assert block.language in TESTED_LANGUAGES or block.title, (
            f"{block.place}: expected the language {', '.join(TESTED_LANGUAGES)} or {OUTPUT_LANGUAGE}, or a block "
            f"with a title; got '{block.language}'"
        )
        name = block.file_name or DEFAULT_NAMES.get(block.language)
        if name is not None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(block.text, encoding="utf-8")
        expected_status = int(block.notes.get("exits with", "0"))
        self._printed = ""
        for command in self._commands(block, name):
            process = self._execute(command)
            self._printed += process.stdout + process.stderr
            assert process.returncode == expected_status, (
                f"{block.place}: {command}\nexit status {process.returncode}, expected {expected_status}\n"
                f"{process.stdout[-2000:]}{process.stderr[-4000:]}"
            )
        if "--dry_run" in block.notes.get("tested with", ""):
            self._printed = ""  # the page shows the output of a full run

    def _check_shown_output(self, block: Block) -> None:
        """Check that the output that a page shows has only words that the commands above it have printed.

        Numbers are not compared: the tests train less, with a smaller encoder.
        """
        unprinted = words_in(block.text) - words_in(self._printed) - VARYING_WORDS
        assert not unprinted, f"{block.place}: the commands did not print {sorted(unprinted)}:\n{self._printed[-4000:]}"

    def _commands(self, block: Block, name: str | None) -> Iterator[str]:
        """Yield the commands that test a block; `name` is the file to which the block was saved, if any."""
        if block.language == "bash":
            for command in split_into_commands(block.text):
                yield self._shorten(command, block.notes.get("tested with"))
        elif block.language == "python":
            yield f"python {name}"
        elif block.language == "yaml":
            is_study = bool(STUDY_KEYS & yaml.safe_load(block.text).keys())
            command = f"experiments/{'ablate.py --study' if is_study else 'run.py --recipe'} {name} --dry_run"
            yield self._shorten(f"python {command}", block.notes.get("tested with"))

    def _shorten(self, command: str, flags: str | None) -> str:
        """Return a command that trains less: with the given flags, by default `--smoke`, and a small encoder."""
        if not SCRIPT.search(command) or COMMAND_WITHOUT_TRAINING.search(command):
            return command
        extra_flags = "--smoke" if flags is None else flags
        if not re.search(r"\bencoder=|--encoder\b", command):
            extra_flags += f" --encoder {self.encoder}"
        end = _end_of_command(command)
        return f"{command[:end].rstrip()} {extra_flags} {command[end:]}".rstrip()

    def _execute(self, command: str) -> subprocess.CompletedProcess[str]:
        arguments = split_into_arguments(command)
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


def words_in(text: str) -> set[str]:
    """Return the words of a text: sequences of two or more letters or underscores."""
    return set(re.findall(r"[A-Za-z_]{2,}", text))


def split_into_commands(text: str) -> list[str]:
    """Return the commands of a bash block, one per line, without comments and empty lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _end_of_command(command: str) -> int:
    """Return the position at which the first command of a pipeline or list ends."""
    without_quotes = re.sub(r"\"[^\"]*\"|'[^']*'", lambda quoted: "_" * len(quoted[0]), command)
    operator = SHELL_OPERATOR.search(without_quotes)
    return operator.start() if operator else len(command)


def split_into_arguments(command: str) -> list[str] | None:
    """Return a command as a list of arguments, or None if it needs a shell."""
    for first_words, replacement in INTERPRETERS.items():
        if command.startswith(f"{first_words} ") and _end_of_command(command) == len(command) and "$" not in command:
            return [*replacement, *shlex.split(command.removeprefix(first_words), comments=True)]
    return None

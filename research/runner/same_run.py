"""Check whether a run directory contains the same run that this command specifies, or a different one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import load_splits
from research.learning.objectives import OBJECTIVES
from research.model.encoders import load_tokenizer
from research.settings.comparison import Differences, compare_settings
from research.settings.config import Choice, RunConfig
from research.settings.declarations import Effect
from research.settings.flags import names_where
from research.settings.forks import read_settings
from research.settings.options import complete_choice
from research.settings.run_files import CONFIG
from research.settings.template import parse_template
from research.system.messages import logger
from research.tasks.base import TASKS


class DifferentRunError(ValueError):
    """The run directory contains a different run."""


def check_finished(config: RunConfig, directory: Path, result: dict[str, Any], *, any_precision: bool) -> None:
    """Check that a finished run has the settings of this command.

    Args:
        config: this command's final settings.
        directory: directory of the finished run.
        result: content of its result.json.
        any_precision: whether to accept any precision, because the command leaves the precision to the machine.
    Raises:
        DifferentRunError: if the finished run is a different run.
    """
    differences = _compare(
        config, directory, lambda: hash_rows_of(config) == result["rows_sha256"], any_precision=any_precision
    )
    if differences.refused:
        raise DifferentRunError(
            f"{directory} contains a finished run with different settings: {'; '.join(differences.refused)}. Choose "
            f"another --name or --output_dir, replace that run (--overwrite), or fork it: --fork {directory}."
        )
    for note in differences.notes:
        logger.info(f"Changed, without an effect on the finished run: {note}.")


def check_resume_directory(config: RunConfig, directory: Path, *, any_precision: bool) -> None:
    """Check that the run directory does not contain a different run, whose files a resumed run would replace.

    This can happen only if the checkpoint is in another directory.

    Args:
        config: this command's final settings; `resume` is the path of the checkpoint.
        directory: the run directory.
        any_precision: see `check_finished`.
    Raises:
        DifferentRunError: if the directory contains a different run.
    """
    assert config.resume is not None
    checkpoint = Path(config.resume).resolve()
    if not (directory / CONFIG).exists() or checkpoint.is_relative_to(directory.resolve()):
        return
    # The rows are not compared: a changed setting that affects the rows counts as a different run.
    differences = _compare(config, directory, lambda: False, any_precision=any_precision)
    if differences.refused:
        raise DifferentRunError(
            f"--resume {config.resume} would replace a different run in {directory}: {'; '.join(differences.refused)}. "
            "Choose another --name or --output_dir, or delete that directory first."
        )


def _compare(
    config: RunConfig, directory: Path, has_same_rows: Callable[[], bool], *, any_precision: bool
) -> Differences:
    """Compare the settings of the run in a directory with those of this command.

    Args:
        config: this command's settings.
        directory: directory of a run.
        has_same_rows: returns whether both have the same rows; called only if a setting that affects the rows differs.
        any_precision: see `check_finished`.
    """
    stored = read_settings(directory / CONFIG, "the run in that directory")
    current = config.to_dict()
    if any_precision:
        current["mixed_precision"] = stored.get("mixed_precision", current["mixed_precision"])
    # Without --objective, the task decides. The task is not known here, so the default of any task is accepted.
    if config.objective is None and stored.get("objective") in _default_objectives():
        current["objective"] = stored["objective"]
    stored_with_defaults = RunConfig().to_dict() | stored
    row_settings = names_where(lambda declared: declared.effect is Effect.ROWS)
    same_rows = all(stored_with_defaults[name] == current[name] for name in row_settings) or has_same_rows()
    return compare_settings(stored, current, same_rows=same_rows, is_fork=False)


def _default_objectives() -> list[str | dict[str, Any]]:
    """Return the default objective of every task, in the form in which config.yaml stores objectives."""
    defaults = [TASKS[task].default_objective for task in TASKS]
    return [complete_choice(OBJECTIVES, Choice(name)).to_yaml() for name in defaults]


def hash_rows_of(config: RunConfig) -> str:
    """Return the hash of the tokenized rows of a run, as result.json has it.

    Raises:
        ValueError: if the data or the tokenizer cannot be read.
    """
    texts = load_splits(config)
    tokenizer = load_tokenizer(config.encoder, config.pad_token)
    template = parse_template(config.template)
    splits = tokenize_splits(texts, tokenizer, template=template, allow_unknown=config.allow_unknown_tokens)
    return splits.hash_rows()

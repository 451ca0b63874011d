"""`--resume auto` in the directory of a finished run: its result is this run's, if it was asked for the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from research.choices import fill_in
from research.config import Choice, RunConfig
from research.data import load_splits, tokenize_splits
from research.data.arrow import hash_rows
from research.encoders import load_tokenizer
from research.forks import read_settings
from research.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from research.resuming import ABOUT_ROWS, compare_settings

Say = Callable[[str], None]


class FinishedError(ValueError):
    """A finished run with other settings."""


def check_finished(
    config: RunConfig, directory: Path, result: dict[str, Any], say: Say, *, any_precision: bool
) -> None:
    """Compare the settings of a finished run with those of this command.

    Args:
        config: this command's settings, resolved.
        directory: the finished run's.
        result: what its result.json holds.
        say: gets the differences that change nothing.
        any_precision: whether the command leaves the precision to the machine: any that was used will do.
    Raises:
        FinishedError: if the finished run is another one.
    """
    before = read_settings(directory / "config.yaml", "the finished run")
    now = config.to_dict()
    if any_precision:
        now["mixed_precision"] = before.get("mixed_precision", now["mixed_precision"])
    if config.objective is None and before.get("objective") in _default_objectives():
        now["objective"] = before["objective"]
    known = RunConfig().to_dict() | before
    same_rows = all(known[name] == now[name] for name in ABOUT_ROWS) or _hash_rows(config, say) == result["rows_sha256"]
    differences = compare_settings(before, now, same_rows=same_rows, is_fork=False)
    if differences.refused:
        raise FinishedError(
            f"{directory} holds a finished run with other settings: {'; '.join(differences.refused)}. Choose another "
            f"--name or --output_dir, replace it with --overwrite, or continue it as another run: --fork {directory}."
        )
    for note in differences.notes:
        say(f"Changed, but without an effect on the finished run: {note}.")


def _default_objectives() -> list[str | dict[str, Any]]:
    """Return what the settings of a run hold whose objective was not chosen, for every kind of labels."""
    return [fill_in(OBJECTIVES, Choice(name)).to_yaml() for name in DEFAULT_OBJECTIVES.values()]


def _hash_rows(config: RunConfig, say: Say) -> str:
    texts = load_splits(config, log=say)
    tokenizer = load_tokenizer(config.encoder)
    splits = tokenize_splits(texts, tokenizer, allow_unknown=config.allow_unknown_tokens, log=say)
    return hash_rows([rows for _, rows in splits.items()])

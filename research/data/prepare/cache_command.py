"""Command line of cache.py, which lists and clears the cache."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rich.table import Table

from research.data.prepare.cache import find_cache_dir
from research.data.prepare.cache_entries import (
    SIZE_VARIABLE,
    CacheEntry,
    describe_size,
    find_entries,
    size_limit,
)
from research.settings.arguments import HELP
from research.settings.config import CheckedSettings
from research.settings.declarations import Effect, setting
from research.settings.program import HelpRequest, Program
from research.settings.script_settings import parse_group, split_flags
from research.system.durable import format_bytes
from research.system.errors import run_script
from research.system.messages import logger
from research.system.scripts import script_argument
from research.system.terminal import Terminal

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class CacheSettings(CheckedSettings):
    """Cache"""

    command: Literal["list", "clear"] = setting("list", effect=Effect.INVOCATION)
    """What to do, as the first argument: list the entries, or remove some of them."""
    older_than: float | None = setting(None, effect=Effect.INVOCATION, above=0, unit="days")
    """For clear: remove the entries that were not used for this time."""
    all: bool = setting(False, effect=Effect.INVOCATION)
    """For clear: remove all entries."""

    @property
    def traceback(self) -> bool:
        """Whether to show tracebacks of errors in the user's own code; this script runs none."""
        return False


CACHE = Program(
    "cache.py",
    f"""python {script_argument("cache")} list
       python {script_argument("cache")} clear [--older_than DAYS] [--all]""",
    "List or clear the cache of prepared rows, tokens and hidden states (MIDWAY_CACHE). Entries that a running process "
    "uses are not removed.",
    (CacheSettings,),
    takes_run_settings=False,
    positional="command",
)
"""The command-line interface of cache.py."""


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_script(sys.argv[1:], parse, execute)


def parse(arguments: Sequence[str]) -> CacheSettings | HelpRequest:
    """Parse a command line.

    Raises:
        ValueError: if a flag is unknown, a value is wrong, or the flags do not fit the command.
    """
    flags = CACHE.read_flags(arguments)
    if any(flag.name == HELP for flag in flags):
        return HelpRequest(CACHE)
    settings = parse_group(CacheSettings, split_flags(CacheSettings, flags)[0])
    selects = settings.all or settings.older_than is not None
    if settings.command == "list" and selects:
        raise ValueError("--older_than and --all belong to `clear`; `list` shows all entries.")
    if settings.command == "clear" and settings.all == (settings.older_than is not None):
        raise ValueError("Expected either --older_than DAYS or --all, to select the entries that `clear` removes.")
    return settings


def execute(command: CacheSettings | HelpRequest) -> int:
    """Execute a parsed command line, and return the exit status.

    Raises:
        ValueError: if an entry cannot be removed.
    """
    if isinstance(command, HelpRequest):
        command.program.parser.print_help()
        return 0
    if command.command == "list":
        _list_entries()
        return 0
    latest = time.time() - (command.older_than or 0) * _SECONDS_PER_DAY
    _remove([entry for entry in find_entries(find_cache_dir()) if command.all or entry.last_used < latest])
    return 0


def _list_entries() -> None:
    folder, limit = find_cache_dir(), size_limit()
    entries = find_entries(folder)
    table = Table("last used", "kind", "data", "encoder", "rows", "size", "in use")
    for column in table.columns[4:6]:
        column.justify = "right"
    for entry in entries:
        about = entry.about
        rows = about.get("rows")
        table.add_row(
            f"{datetime.fromtimestamp(entry.last_used):%Y-%m-%d %H:%M}",
            entry.kind if "split" not in about else f"{entry.kind}, {about['split']}",
            str(about.get("data", "")),
            str(about.get("encoder", "")),
            f"{rows:,}" if isinstance(rows, int) else "",
            format_bytes(entry.num_bytes),
            "yes" if entry.is_in_use() else "",
        )
    if entries:
        Terminal().print(table)
    limit_text = "no limit" if limit is None else f"limit {format_bytes(limit)}"
    logger.info(f"{folder}: {describe_size(entries)}, {limit_text} ({SIZE_VARIABLE}).")


def _remove(entries: Sequence[CacheEntry]) -> None:
    """Remove entries that are not in use, and print how many."""
    removed: list[CacheEntry] = []
    kept: list[CacheEntry] = []
    for entry in entries:
        try:
            (removed if entry.remove() else kept).append(entry)
        except OSError as error:
            raise ValueError(f"Cannot remove {error.filename}: {error.strerror}.") from error
    logger.info(f"Removed {describe_size(removed)} from {find_cache_dir()}.")
    if kept:
        logger.info(f"Kept {describe_size(kept)} that running processes use or this user may not remove.")

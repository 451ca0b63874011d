"""Read the files that a run writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def result_of(directory: Path) -> dict[str, object]:
    """Return the content of result.json."""
    result: dict[str, object] = json.loads((directory / "result.json").read_text())
    return result


def metrics_lines_of(directory: Path) -> list[dict[str, float]]:
    """Return the lines of metrics.jsonl as dictionaries."""
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def without_speed(lines: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return the lines without the speed, which differs between runs that are otherwise equal."""
    return [{name: value for name, value in line.items() if name != "examples_per_second"} for line in lines]


def read_test_predictions(directory: Path) -> Any:
    """Return the predictions for the test rows as an Arrow table."""
    return pq.read_table(directory / "predictions" / "test.parquet")


def journal_of(directory: Path) -> list[tuple[int, str]]:
    """Return the step and name of each edit in the journal, applied or skipped."""
    records = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    return [(record["step"], record["name"]) for record in records]

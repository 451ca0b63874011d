"""Breaches between two steps are reported on every process; each check of the audit finds what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

SCRIPT = ROOT / "tests" / "launched" / "broken_edits.py"
NOTHING = "ended after step 4: None"
BOTH = {
    "nothing broken": NOTHING,
    "optimizer does not follow": r"AuditError: Audit: .*head\.out\.weight is in 0 ",
    "frozen parameter keeps its gradient": r"AuditError: Audit: .*gradient.*word_embeddings\.weight",
    "rate set by hand": r"AuditError: Audit: .*embeddings has 0\.5 ",
    "compiled code does not follow": r"AuditError: Audit: .*compiled.*layer\.1",
    "frozen by hand": r"AuditError: .*encoder\.embeddings.*run\.edit\.freeze",
    "frozen by hand beside an edit": r"AuditError: .*encoder\.embeddings.*run\.edit\.",
    "frozen by hand in after_backward": r"AuditError: .*encoder\.embeddings.*run\.edit\.",
    "asked in end_of_step": r"EditError: scale_lr\(.*\bend_of_step \(by hook Breaks\)",
    "counter of all processes": NOTHING,
    "no gradient but frozen": NOTHING,
    "nothing left to train": r"EditError: After step 2 nothing",
    "misspelt edit": r"UnknownNameError: .*'unfreze'.*'unfreeze'",
    "selector matches nothing": r"EditError: After step 2, freeze\(.*hook Breaks.*'encoder\.layer\[7\]'",
}
ERRORS = {
    1: BOTH
    | {
        "compiled code does not follow": r"AuditError: Audit: .*compiled",
        "reducer does not follow": r"AuditError: .*run\.edit\.",
        "reducer follows in name only": NOTHING,  # one process has no reducer
        "one bit differs": NOTHING,  # and no other replica
        "one bit differs without edits": NOTHING,
        "frozen on one process": NOTHING,
        "grown on one process": NOTHING,
        "rate of one process": NOTHING,
        "statistics of one process": NOTHING,
        "statistics of one process later": NOTHING,
        "buffer of one process": NOTHING,
        "no gradient": NOTHING,
        "no gradient later": NOTHING,
        "no gradient in the encoder": NOTHING,
        "skipped by one process": NOTHING,
        "asked on one process": NOTHING,
        "asked for different edits": NOTHING,
        "fails on one process": NOTHING,
        "stopped by one process": "ended after step 2: the last process had enough",
    },
    2: BOTH
    | {
        "compiled code does not follow": r"AuditError: Audit: DDP ",
        "reducer does not follow": r"AuditError: Audit: DDP .*layer\.1",
        "reducer follows in name only": r"AuditError: Audit: DDP .*by name",
        "one bit differs": r"AuditError: Audit: .*values of head\.out\.bias",
        "one bit differs without edits": r"AuditError: Audit: .*values of head",
        "frozen on one process": r"AuditError: Audit: .*head\.out\.bias is frozen",
        "grown on one process": r"AuditError: Audit: .*structure",
        "rate of one process": r"AuditError: Audit: .*learning rate of embeddings",
        "statistics of one process": r"HeadError: .*normalized.*norm\.running_mean, norm\.running_var\).*SyncBatchNorm",
        "statistics of one process later": r"HeadError: .*normalized.*norm\.running_mean.*SyncBatchNorm",
        "buffer of one process": r"AuditError: Audit: .*head\.num_calls",
        "no gradient": r"HeadError: .*with_more.*more\.weight, more\.bias",
        "no gradient later": r"HeadError: .*with_more.*more\.weight, more\.bias",
        "no gradient in the encoder": r"AuditError: .*encoder\.encoder\.layer\.0\.",
        "skipped by one process": r"ValueError: .*\b1 of 2 .*step 2\b",
        "asked on one process": r"EditError: .*process 0: freeze\(.*process 1: nothing",
        "asked for different edits": r"EditError: .*factor=0\.5.*factor=0\.6",
        "fails on one process": r"(RuntimeError|EditError: Process 1 .*step 2: RuntimeError): this process has no luck",
        "stopped by one process": "ended after step 2: the last process had enough",
    },
}


@pytest.fixture(scope="module")
def found(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("broken")
    for num_processes in (1, 2):
        launch(
            ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / str(num_processes)],
            num_processes=num_processes,
            script=str(SCRIPT),
        )
    return {num_processes: read_by_rank(folder / str(num_processes), num_processes) for num_processes in (1, 2)}


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("scenario", ERRORS[1])
def test_breaches_are_reported_on_every_process(
    found: dict[int, list[dict[str, str]]], scenario: str, num_processes: int
) -> None:
    for message in (process[scenario] for process in found[num_processes]):
        assert re.search(ERRORS[num_processes][scenario], message), message


def test_every_scenario_is_looked_at(found: dict[int, list[dict[str, str]]]) -> None:
    assert all(process.keys() == ERRORS[number].keys() for number, processes in found.items() for process in processes)

"""Every process reports faults of edits and hooks, and each check of the audit detects the fault that it looks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

SCRIPT = ROOT / "tests" / "launched" / "broken_edits.py"
NO_ERROR = "ended after step 4: None"
"""Outcome of a run that takes all four steps, and has no reason to stop."""
SHARED_OUTCOMES = {
    "nothing broken": NO_ERROR,
    "optimizer not updated": r"AuditError: Audit: .*head\.out\.weight is in 0 ",
    "frozen parameter keeps its gradient": r"AuditError: Audit: .*gradient.*word_embeddings\.weight",
    "learning rate set by hand": r"AuditError: Audit: .*embeddings has 0\.5 ",
    "frozen by hand": r"AuditError: .*encoder\.embeddings.*run\.edit\.freeze",
    "frozen by hand during an edit": r"AuditError: .*encoder\.embeddings.*run\.edit\.",
    "frozen by hand in after_backward": r"AuditError: .*encoder\.embeddings.*run\.edit\.",
    "requested in end_of_step": r"EditError: scale_lr\(.*\bend_of_step \(by hook CallAtPoint\)",
    "counter of all processes": NO_ERROR,
    "no gradient but frozen": NO_ERROR,
    "nothing left to train": r"EditError: After step 2 nothing",
    "misspelt edit": r"UnknownNameError: .*'unfreze'.*'unfreeze'",
    "selector matches nothing": r"EditError: After step 2, freeze\(.*hook CallAtPoint.*'encoder\.layer\[7\]'",
}
"""Regular expressions for the outcomes that do not depend on the number of processes."""
EXPECTED_OUTCOMES = {
    1: SHARED_OUTCOMES
    | {
        "compiled code not updated": r"AuditError: Audit: .*compiled",
        "reducer not updated": r"AuditError: .*run\.edit\.",  # noticed as an unexpected change of what trains
        "reducer updated only in name": NO_ERROR,  # one process has no reducer
        "one bit differs": NO_ERROR,  # one process has no other replica
        "one bit differs without edits": NO_ERROR,
        "frozen on one process": NO_ERROR,
        "parameter added on one process": NO_ERROR,
        "learning rate of one process": NO_ERROR,
        "statistics of one process": NO_ERROR,
        "statistics of one process after an edit": NO_ERROR,
        "buffer of one process": NO_ERROR,
        "no gradient": NO_ERROR,
        "no gradient after an edit": NO_ERROR,
        "no gradient in the encoder": NO_ERROR,
        "skipped by one process": NO_ERROR,
        "requested on one process": NO_ERROR,
        "different requests": NO_ERROR,
        "fails on one process": NO_ERROR,
        "stopped by one process": "ended after step 2: the last process stops",
    },
    2: SHARED_OUTCOMES
    | {
        "compiled code not updated": r"AuditError: Audit: DDP ",
        "reducer not updated": r"AuditError: Audit: DDP .*layer\.1",
        "reducer updated only in name": r"AuditError: Audit: DDP .*only the sizes differ",
        "one bit differs": r"AuditError: Audit: .*values of head\.out\.bias",
        "one bit differs without edits": r"AuditError: Audit: .*values of head",
        "frozen on one process": r"AuditError: Audit: .*head\.out\.bias is frozen",
        "parameter added on one process": r"AuditError: Audit: .*structure",
        "learning rate of one process": r"AuditError: Audit: .*learning rate of embeddings",
        "statistics of one process": r"HeadError: .*normalized.*norm\.running_mean, norm\.running_var\).*SyncBatchNorm",
        "statistics of one process after an edit": r"HeadError: .*normalized.*norm\.running_mean.*SyncBatchNorm",
        "buffer of one process": r"AuditError: Audit: .*head\.num_calls",
        "no gradient": r"HeadError: .*with_unused.*unused\.weight, unused\.bias",
        "no gradient after an edit": r"HeadError: .*with_unused.*unused\.weight, unused\.bias",
        "no gradient in the encoder": r"AuditError: .*encoder\.encoder\.layer\.0\.",
        "skipped by one process": r"ValueError: .*\b1 of 2 .*step 2\b",
        "requested on one process": r"EditError: .*process 0: freeze\(.*process 1: nothing",
        "different requests": r"EditError: .*factor=0\.5.*factor=0\.6",
        "fails on one process": r"(RuntimeError|EditError: Process 1 .*step 2: RuntimeError): this process fails",
        "stopped by one process": "ended after step 2: the last process stops",
    },
}
"""Regular expressions for the outcome of each scenario, by the number of processes."""


@pytest.fixture(scope="module")
def outcomes(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[dict[str, str]]]:
    """The message that ended each scenario on each process, by the number of processes."""
    folder = tmp_path_factory.mktemp("broken")
    for num_processes in (1, 2):
        launch(
            ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / str(num_processes)],
            num_processes=num_processes,
            script=str(SCRIPT),
        )
    return {num_processes: read_by_rank(folder / str(num_processes), num_processes) for num_processes in (1, 2)}


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("scenario", EXPECTED_OUTCOMES[1])
def test_every_process_reports_the_fault_of_the_scenario(
    outcomes: dict[int, list[dict[str, str]]], scenario: str, num_processes: int
) -> None:
    for message in (process[scenario] for process in outcomes[num_processes]):
        assert re.search(EXPECTED_OUTCOMES[num_processes][scenario], message), message


def test_every_scenario_has_an_expected_outcome(outcomes: dict[int, list[dict[str, str]]]) -> None:
    assert all(
        process.keys() == EXPECTED_OUTCOMES[number].keys()
        for number, processes in outcomes.items()
        for process in processes
    )

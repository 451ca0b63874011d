"""What breaks between two steps is said, on every process; each check of the audit sees the very thing it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

SCRIPT = ROOT / "tests" / "launched" / "broken_edits.py"
BOTH = {
    "nothing broken": "ended after step 4: None",
    "optimizer does not follow": r"AuditError: Audit: every parameter must be in exactly one optimizer group; "
    r"head.out.weight is in 0 groups",
    "frozen parameter keeps its gradient": "AuditError: Audit: a frozen parameter must have no gradient; "
    "encoder.embeddings.word_embeddings.weight has one",
    "rate set by hand": "AuditError: Audit: learning rates must be the schedule's .*; embeddings has 0.5 instead of",
    "compiled code does not follow": "AuditError: Audit: .*compiled.*layer.1.*",
    "frozen by hand": "AuditError: What trains was changed without an edit: encoder.embeddings.*run.edit.freeze",
    "frozen by hand beside an edit": "AuditError: What trains was changed without an edit: encoder.embeddings",
    "frozen by hand in after_backward": "AuditError: What trains was changed without an edit: encoder.embeddings",
    "asked in end_of_step": r"EditError: scale_lr\(.*\) was asked for in end_of_step \(by hook Breaks\)",
    "counter of all processes": "ended after step 4: None",
    "no gradient but frozen": "ended after step 4: None",
    "nothing left to train": "EditError: After step 2 nothing is left to train",
    "misspelt edit": "UnknownNameError: Unknown edit 'unfreze'. Did you mean 'unfreeze'?",
    "selector matches nothing": r"EditError: After step 2, freeze\(.*asked for by hook Breaks.*'encoder.layer\[7\]' "
    "matches no parameter",
}
SAID = {
    1: BOTH
    | {
        "compiled code does not follow": "AuditError: Audit: a compiled model must be compiled again",
        "reducer does not follow": "AuditError: What trains was changed without an edit",
        "reducer follows in name only": "ended after step 4: None",  # one process has no reducer
        "one bit differs": "ended after step 4: None",  # and no other replica
        "one bit differs without edits": "ended after step 4: None",
        "frozen on one process": "ended after step 4: None",
        "grown on one process": "ended after step 4: None",
        "rate of one process": "ended after step 4: None",
        "statistics of one process": "ended after step 4: None",
        "statistics of one process later": "ended after step 4: None",
        "buffer of one process": "ended after step 4: None",
        "no gradient": "ended after step 4: None",
        "no gradient later": "ended after step 4: None",
        "no gradient in the encoder": "ended after step 4: None",
        "skipped by one process": "ended after step 4: None",
        "asked on one process": "ended after step 4: None",
        "asked for different edits": "ended after step 4: None",
        "fails on one process": "ended after step 4: None",
        "stopped by one process": "ended after step 2: the last process had enough",
    },
    2: BOTH
    | {
        "compiled code does not follow": "AuditError: Audit: DDP must average exactly the parameters that train",
        "reducer does not follow": r"AuditError: Audit: DDP must average exactly the parameters that train.*layer\.1",
        "reducer follows in name only": "AuditError: Audit: DDP must average .*none differs by name",
        "one bit differs": "AuditError: Audit: all processes must have the same .*; the values of head.out.bias differ",
        "one bit differs without edits": "AuditError: Audit: all processes must have the same .*; the values of head",
        "frozen on one process": "AuditError: Audit: all processes must have the same .*; whether head.out.bias is "
        "frozen differs",
        "grown on one process": "AuditError: Audit: the processes have models of different structure",
        "rate of one process": "AuditError: Audit: all processes must have the same .*; the learning rate of "
        "embeddings differs",
        "statistics of one process": r"HeadError: .*normalized.*norm\.running_mean, norm\.running_var\).*SyncBatchNorm",
        "statistics of one process later": r"HeadError: .*normalized.*norm\.running_mean.*SyncBatchNorm",
        "buffer of one process": "AuditError: Audit: all processes must .*the buffer head.num_calls differ",
        "no gradient": r"HeadError: .*with_more.*more\.weight, more\.bias",
        "no gradient later": r"HeadError: .*with_more.*more\.weight, more\.bias",
        "no gradient in the encoder": r"AuditError: .*encoder\.encoder\.layer\.0\.",
        "skipped by one process": "ValueError: All processes must skip a step or none; 1 of 2 want to skip step 2",
        "asked on one process": r"EditError: All processes must ask for the same edits.*process 0: freeze\(.*"
        "process 1: nothing",
        "asked for different edits": r"EditError: All processes must ask .*factor=0.5.*factor=0.6",
        "fails on one process": "(RuntimeError: this process has no luck|EditError: Process 1 could not apply the "
        "edits after step 2: RuntimeError: this process has no luck)",
        "stopped by one process": "ended after step 2: the last process had enough",
    },
}


@pytest.fixture(scope="module")
def said(
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
@pytest.mark.parametrize("scenario", SAID[1])
def test_what_breaks_is_said_on_every_process(
    said: dict[int, list[dict[str, str]]], scenario: str, num_processes: int
) -> None:
    for message in (process[scenario] for process in said[num_processes]):
        assert re.search(SAID[num_processes][scenario], message), message


def test_every_scenario_is_looked_at(said: dict[int, list[dict[str, str]]]) -> None:
    assert all(process.keys() == SAID[number].keys() for number, found in said.items() for process in found)

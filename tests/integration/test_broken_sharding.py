"""With --shard, each check detects the fault that it looks for, on every process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

pytestmark = pytest.mark.sharding
SCRIPT = ROOT / "tests" / "launched" / "broken_sharding.py"
NO_ERROR = "ended after step 4: None"
EXPECTED_OUTCOMES = {
    "nothing broken": NO_ERROR,
    "nothing broken, with edits of every kind": NO_ERROR,
    "head not split": r"AuditError: Audit: .*split.*head\.out\.weight is not",
    "head unknown to the model": r"AuditError: Audit: .*units; head is unknown",
    "adapter not split": r"AuditError: Audit: .*split.*query\.adapter is not",
    "frozen on one process": r"AuditError: Audit: .*head\.out\.bias is frozen differs",
    "frozen by hand": r"AuditError: .*word_embeddings.*run\.edit\.freeze",
    "replaced by hand": r"AuditError: .*changed without an edit: head\.out\.weight",
    "values changed by an edit of modules": r'AuditError: .*touches="structure".*has changed head\.out\.weight',
    "values changed in place by an edit of modules": r'EditError: After step 2, naive_values.*touches="structure"',
    "bit flipped during an edit": r"AuditError: Audit: .*values of head\.out\.bias",
    "bit flipped while splitting": r"AuditError: Audit: splitting .*head\.out\.weight has changed",
    "bit flipped in one copy": r"AuditError: Audit: .*values of head\.out\.weight",
    "bit flipped in one copy before an edit": r"AuditError: Audit: .*values of head\.out\.weight",
    "unfrozen in bf16": NO_ERROR,
    "dtypes not reset": r"RuntimeError: .*(BFloat16|bfloat16|dtype)",
    "checkpointed reentrantly": r"AuditError: .*encoder\.encoder\.layer\.1\..* no gradient",
    "checkpointed": NO_ERROR,
    "random numbers for parts": r"DifferentNumbersError: .*randn_like.*shared_random_numbers",
    "random values in place": r"DifferentNumbersError: .*normal_.*shared_random_numbers",
    "optimizer not updated": r"AuditError: Audit: .*head\.out\.weight is in 0 ",
}
"""Regular expressions for the outcome of each scenario."""


@pytest.fixture(scope="module")
def outcomes(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    """The message that ended each scenario, on each process."""
    output = tmp_path_factory.mktemp("broken") / "outcomes"
    launch(["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", output], num_processes=2, script=str(SCRIPT))
    return read_by_rank(output, 2)


@pytest.mark.parametrize("scenario", EXPECTED_OUTCOMES)
def test_every_process_reports_the_fault_of_the_scenario(outcomes: list[dict[str, str]], scenario: str) -> None:
    for process in outcomes:
        assert re.search(EXPECTED_OUTCOMES[scenario], process[scenario]), process[scenario]


def test_every_scenario_has_an_expected_outcome(outcomes: list[dict[str, str]]) -> None:
    assert all(process.keys() == EXPECTED_OUTCOMES.keys() for process in outcomes)

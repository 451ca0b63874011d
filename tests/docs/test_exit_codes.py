"""The page of exit codes lists exactly the codes with which the scripts end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from research.studies.worker import CANNOT_WRITE_STATUS
from research.system.signals import HANDLED_SIGNALS
from tests.conftest import Launch
from tests.docs.blocks import DOCS
from tests.docs.tables import described_names

PAGE = DOCS / "reference" / "exit-codes.md"


def test_page_describes_all_exit_codes() -> None:
    signal_codes = {128 + number for number in (*HANDLED_SIGNALS, signal.SIGPIPE)}
    assert {int(code) for code in described_names(PAGE, "codes", "code")} == {
        0,
        1,
        2,
        CANNOT_WRITE_STATUS,
        *signal_codes,
    }


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--batch_size", "0"], 2),  # found while reading the settings
        (["--recipe", "none.yaml"], 2),
        (["--head", "ltsm"], 1),  # found in a later check
        (["--data", "none.csv"], 1),
        (["--list", "heads"], 0),
    ],
)
def test_run_exits_with_the_described_code(launch: Launch, tmp_path: Path, arguments: list[str], status: int) -> None:
    assert launch(arguments, check=False, cwd=tmp_path).returncode == status

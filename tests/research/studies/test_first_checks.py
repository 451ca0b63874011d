"""What is wrong with a study itself, or with a worker's options, is refused first."""

from __future__ import annotations

from pathlib import Path

import pytest

from heads.registry import UnknownNameError
from research.studies.command import StudyCommand, parse_study
from research.studies.first_checks import check_study, check_worker


def command(*arguments: str) -> StudyCommand:
    read = parse_study(arguments)
    assert read is not None
    return read


def test_metric_that_no_labels_have_is_refused() -> None:
    check_study(command("--metric", "accuracy"))
    check_study(command())
    with pytest.raises(UnknownNameError, match=r"'acuracy'.*'accuracy'"):
        check_study(command("--metric", "acuracy"))
    with pytest.raises(UnknownNameError, match="'pearson'"):
        check_study(command("--metric", "pearson", "--task", "single_label"))


def test_launcher_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--accelerate_config missing\.yaml"):
        check_study(command("--accelerate_config", "missing.yaml"))


def test_options_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "launcher.yaml").write_text("{num_processes: 2}")
    check_worker(str(tmp_path / "launcher.yaml"), 2, "1h30m")
    for options, expected in (
        (("missing.yaml", 1, None), r"--accelerate_config missing\.yaml"),
        ((None, 0, None), r"--num_workers .*\b0\b"),
        ((None, 1, "2 days"), "'2 days'"),
    ):
        with pytest.raises(ValueError, match=expected):
            check_worker(*options)

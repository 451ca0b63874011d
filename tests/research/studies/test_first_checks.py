"""A study's metric and launch configuration are checked before data are read or workers are started."""

from __future__ import annotations

import pytest

from heads.registry import UnknownNameError
from research.studies.command import StudyCommand, parse_study
from research.studies.first_checks import check_study


def parse(*arguments: str) -> StudyCommand:
    command = parse_study(arguments)
    assert isinstance(command, StudyCommand)
    return command


def test_unknown_metric_is_refused() -> None:
    check_study(parse("--metric", "accuracy"))
    check_study(parse())
    with pytest.raises(UnknownNameError, match=r"'acuracy'.*'accuracy'"):
        check_study(parse("--metric", "acuracy"))
    with pytest.raises(UnknownNameError, match="'pearson'"):  # a metric of regression
        check_study(parse("--metric", "pearson", "--task", "single_label"))


def test_missing_launch_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--accelerate_config missing\.yaml"):
        check_study(parse("--accelerate_config", "missing.yaml"))

"""The end of a search: its best trials, what was tried, and its page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from research.studies.command import StudyCommand, parse_study
from research.studies.search.propose import Proposer
from research.studies.search.report import describe_tried, report_search, write_search_page
from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import REPEATS, identity_of
from research.system.terminal import Terminal

FLAGS = ("--search", "head=linear,{name: lstm, lstm_size: 64}", "--trials", "2", "--minimize", "trainable_parameters")


@pytest.fixture
def command(tmp_path: Path) -> StudyCommand:
    parsed = parse_study([*FLAGS, "--output_dir", str(tmp_path)])
    assert isinstance(parsed, StudyCommand)
    return parsed


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with Study("s", local_address(tmp_path), has_second_objective=True) as study:
        yield study


def finish(study: Study, proposer: Proposer, values: dict[str, object], metric: float, parameters: float) -> None:
    """Finish a trial with the given values."""
    key = study._create_running_trial("a worker")
    for name, value in {**identity_of(proposer.make_trial(values)), "seconds": 60.0}.items():
        study._storage.set_trial_user_attr(key, name, value)
    study._storage.set_trial_state_values(key, TrialState.COMPLETE, [metric, parameters])


@pytest.mark.parametrize(
    ("num_repeats", "expected"),
    [
        (0, "no pruner."),
        (1, "1 more trial repeated earlier settings and was not run."),
        (2, "2 more trials repeated earlier settings and were not run."),
    ],
)
def test_number_of_repeated_trials_agrees_with_the_verb(
    command: StudyCommand, study: Study, num_repeats: int, expected: str
) -> None:
    for _ in range(num_repeats):
        study._storage.set_trial_user_attr(study._create_running_trial("a worker"), REPEATS, "trial-0")
    assert describe_tried(study, Proposer(command.spec).search).endswith(expected)


def test_second_objective_is_printed_with_thousands_separators(
    command: StudyCommand, study: Study, tmp_path: Path
) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, {"head": {"name": "lstm", "lstm_size": 64}}, 0.9, 22_713_216.0)
    finish(study, proposer, {"head": "linear"}, 0.8, 770.0)
    printed = io.StringIO()
    report_search(Terminal(file=printed, width=80), study, proposer, command.spec, tmp_path)
    assert "22,713,216" in printed.getvalue()
    assert "lstm (lstm_size 64)" in printed.getvalue()
    assert "trainable parameters" in printed.getvalue()


def test_values_of_a_searched_setting_have_equal_decimals(study: Study, tmp_path: Path) -> None:
    space = ["lr=1e-5..1e-3:log", "head.dropout=0..0.5", "batch_size=8..64"]
    flags = ["--trials", "2", "--minimize", "trainable_parameters", "--head", "lstm", "--output_dir", str(tmp_path)]
    command = parse_study(["--search", *space, *flags])
    assert isinstance(command, StudyCommand)
    proposer = Proposer(command.spec)
    for lr, dropout, batch_size in ((1e-4, 0.3, 8), (2.345e-4, 0.12345, 16)):
        finish(study, proposer, {"lr": lr, "head.dropout": dropout, "batch_size": batch_size}, 0.5, 770.0)
    page = write_search_page(study, proposer, command.spec, tmp_path).read_text()
    for value in ("1.00e-04", "2.35e-04", "0.300", "0.123", "8", "16"):
        assert f">{value}</td>" in page


def test_page_of_a_search_can_be_written_again_after_its_confirmation(
    command: StudyCommand, study: Study, tmp_path: Path
) -> None:
    proposer = Proposer(command.spec)
    finish(study, proposer, {"head": "linear"}, 0.8, 770.0)
    assert "--confirm" in write_search_page(study, proposer, command.spec, tmp_path).read_text()
    (tmp_path / "confirm").mkdir()
    (tmp_path / "confirm/report.html").write_text("")
    assert '<a href="confirm/report.html">' in write_search_page(study, proposer, command.spec, tmp_path).read_text()

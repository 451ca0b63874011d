"""The ranking of a study is printed on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.console import fold_name, ranking_lines
from research.studies.report.contents import collect_contents
from research.system.terminal import Terminal
from tests.builders.studies import make_trial
from tests.research.studies.report.made_up import study_with_accuracies


def print_ranking(study: StudyOutcomes, width: int = 300) -> list[str]:
    """Return the printed lines; the default width is enough for every row."""
    console = io.StringIO()
    for line in ranking_lines(collect_contents(study)):
        Terminal(file=console, width=width).print(line)
    return console.getvalue().splitlines()


def test_arms_are_listed_best_first_with_difference_and_verdict(tmp_path: Path) -> None:
    baseline = [0.50, 0.52, 0.51, 0.53, 0.49]
    lstm = [value + 0.2 + 0.001 * value for value in baseline]  # a constant difference would get no verdict
    lines = print_ranking(study_with_accuracies(tmp_path, {"linear": baseline, "lstm": lstm}))
    assert "accuracy" in lines[0]
    rows = {line.split()[0]: line.split() for line in lines if line.strip().startswith(("linear", "lstm"))}
    assert list(rows) == ["lstm", "linear"]
    assert rows["lstm"][1:3] == ["5", "0.7105"]  # number of seeds, and mean
    assert "+0.2005" in rows["lstm"]
    assert rows["lstm"][-1] == "better"
    assert rows["linear"][1:3] == ["5", "0.5100"]
    assert rows["linear"][-1] == "baseline"


def test_verdicts_are_not_broken_within_a_word_on_a_narrow_terminal(tmp_path: Path) -> None:
    study = study_with_accuracies(tmp_path, {"linear": [0.5, 0.6], "long_name_of_an_arm": [0.7, 0.85]})
    lines = print_ranking(study, width=80)
    assert max(map(len, lines)) <= 80
    assert sum(line.split()[-1:] == ["baseline"] for line in lines) == 1


def test_words_of_long_arm_names_are_not_broken_on_a_narrow_terminal(tmp_path: Path) -> None:
    name = "attention (dropout 0.288), lr=0.01"
    values = [0.5, 0.61, 0.55, 0.52, 0.58]
    lines = print_ranking(study_with_accuracies(tmp_path, {"linear": values, name: [0.7, 0.8, 0.71, 0.75, 0.72]}), 80)
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert set(name.split()) <= words
    assert "(95%" in words


def test_common_reason_for_no_verdict_is_printed_once(tmp_path: Path) -> None:
    study = study_with_accuracies(tmp_path, {"linear": [0.5, 0.6], "lstm": [0.7, 0.85], "gru": [0.6, 0.8]})
    reasons = {arm.comparison.why_no_verdict for arm in collect_contents(study).ranked if arm.comparison is not None}
    (reason,) = reasons
    assert sum(reason in line for line in print_ranking(study)) == 1


def test_nothing_is_printed_before_a_trial_is_finished(tmp_path: Path) -> None:
    assert print_ranking(StudyOutcomes(StudySpec(), tmp_path, [Outcome(make_trial("a", 0), tmp_path, "waiting")])) == []


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_short_arm_names_are_on_one_line_on_any_terminal(tmp_path: Path, width: int) -> None:
    values = [0.5, 0.61, 0.55, 0.52, 0.58]
    study = study_with_accuracies(
        tmp_path, {"linear": values, "mean": [0.7, 0.8, 0.71, 0.75, 0.72], "attention": values}
    )
    lines = print_ranking(study, width)
    assert max(map(len, lines)) <= width
    assert {"linear", "mean", "attention"} <= {line.split()[0] for line in lines if line.strip()}


@pytest.mark.parametrize("width", [80, 100])
def test_options_of_long_arm_names_are_not_broken(tmp_path: Path, width: int) -> None:
    name = "attention (dropout 0.193), lr=0.000234"
    values = [0.5, 0.61, 0.55, 0.52, 0.58]
    lines = print_ranking(
        study_with_accuracies(tmp_path, {"linear": values, name: [0.7, 0.8, 0.71, 0.75, 0.72]}), width
    )
    assert max(map(len, lines)) <= width
    assert any("(dropout 0.193)," in line for line in lines)
    assert any("lr=0.000234" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "width", "folded"),
    [
        ("linear", 12, "linear"),
        ("attention (dropout 0.2), lr=0.01", 24, "attention (dropout 0.2),\nlr=0.01"),
        ("attention (dropout 0.2), lr=0.01", 20, "attention\n(dropout 0.2),\nlr=0.01"),
        ("attention (dropout 0.2), lr=0.01", 10, "attention\n(dropout\n0.2),\nlr=0.01"),
        ("timeline=50% a; 75% b", 16, "timeline=50% a;\n75% b"),
        ("timeline=50% a b; 75% b", 21, "timeline=50% a b;\n75% b"),
        ("long_name, b", 6, "long_n\name, b"),
        ("", 6, ""),
    ],
)
def test_names_are_folded_between_settings_then_between_words(name: str, width: int, folded: str) -> None:
    assert fold_name(name, width) == folded

"""The report of a search: its trials, its figures, and the trials that no other trial beats."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from research.studies.grid import StudySpec, Trial
from research.studies.report.search_figures import position_in
from research.studies.report.search_page import SearchContents, draw_selection, write_search_report
from research.studies.search.results import SearchTrial
from research.studies.search.space import Range, Values, parse_space
from research.studies.search.spec import parse_search
from tests.browser import needs_chromium, open_page
from tests.builders.studies import HOSTILE

SEARCH = {"space": {"head": ["linear", "lstm"], "lr": "1e-5..1e-2:log"}, "trials": 4}


def trial(number: int, metric: float, *, pruned_at: int | None = None, second: float = math.nan) -> SearchTrial:
    axes = {"head": "lstm" if number % 2 else "linear", "lr": 10.0 ** -(2 + number % 3), "seed": 0}
    made = Trial(f"trial-{number}", f"{HOSTILE} {number}", 0, axes, {})
    return SearchTrial(made, metric, second, 60.0, pruned_at)


TRIALS = [trial(0, 0.5), trial(1, 0.75), trial(2, 0.875, pruned_at=30), trial(3, 0.625)]


def contents(trials: list[SearchTrial], **changes: Any) -> SearchContents:
    spec = StudySpec(name="a", search=SEARCH, split="validation")
    made = SearchContents(
        spec=spec,
        search=parse_search(SEARCH),
        space=parse_space(SEARCH["space"]),  # type: ignore[arg-type]
        metric="accuracy",
        higher_is_better=True,
        tried="4 configurations tried.",
        trials=trials,
        failed=(),
    )
    return dataclasses.replace(made, **changes)


@needs_chromium
def test_page_ranks_finished_trials_before_pruned_ones(tmp_path: Path) -> None:
    rendered = open_page(write_search_report(contents(TRIALS), tmp_path))
    assert rendered.errors == []
    positions = [rendered.text.index(f"trial-{number}") for number in (1, 3, 0, 2)]
    assert positions == sorted(positions)
    assert "pruned after 30%" in " ".join(rendered.text.split())
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["id"], row["status"], row["pruned_at"], float(row["validation/accuracy"])) for row in rows] == [
        ("trial-0", "finished", "", 0.5),
        ("trial-1", "finished", "", 0.75),
        ("trial-2", "pruned", "30", 0.875),
        ("trial-3", "finished", "", 0.625),
    ]
    assert [float(row["search/lr"]) for row in rows] == [each.values["lr"] for each in TRIALS]


def test_page_without_results_can_be_written(tmp_path: Path) -> None:
    assert "No trial has a value" in write_search_report(contents([]), tmp_path).read_text()


def test_choices_with_options_are_shown_like_names_of_arms(tmp_path: Path) -> None:
    choice = {"name": "lstm", "lstm_size": 64}
    made = Trial("trial-0", "a", 0, {"head": choice, "seed": 0}, {})
    space = parse_space({"head": ["linear", choice]})
    page = write_search_report(contents([SearchTrial(made, 0.5, math.nan, 60.0, None)], space=space), tmp_path)
    assert page.read_text().count("lstm (lstm_size 64)") == 2  # the trial and the space
    assert "lstm_size: 64" not in page.read_text()
    assert "linear, lstm (lstm_size 64)" in page.read_text()


def test_page_marks_the_best_trade_offs(tmp_path: Path) -> None:
    trials = [trial(number, metric, second=float(number)) for number, metric in enumerate((0.5, 0.75, 0.625))]
    search = parse_search({**SEARCH, "minimize": "seconds"})
    page = write_search_report(contents(trials, search=search), tmp_path).read_text()
    assert page.count("★") == 3  # two trials and the caption
    assert page.index("★ 1") < page.index("0.7500") < page.index("★ 2") < page.index("0.5000")


@pytest.mark.parametrize(
    ("values", "shown"), [([22_713_216.0, 1536.0], ["22,713,216", "1,536"]), ([1200.5, 7.25], ["1,200.5", "7.2"])]
)
def test_second_objective_is_shown_with_thousands_separators(
    tmp_path: Path, values: list[float], shown: list[str]
) -> None:
    trials = [trial(number, 0.9 - 0.1 * number, second=second) for number, second in enumerate(values)]
    search = parse_search({**SEARCH, "minimize": "trainable_parameters"})
    page = write_search_report(contents(trials, search=search), tmp_path).read_text()
    assert all(f">{value}</td>" in page for value in shown)
    assert "accuracy against trainable parameters" in page
    assert "trainable_parameters" not in page


def test_page_links_to_the_confirmation_once_it_exists(tmp_path: Path) -> None:
    assert "--confirm" in write_search_report(contents(TRIALS), tmp_path).read_text()
    (tmp_path / "confirm").mkdir()
    (tmp_path / "confirm/report.html").write_text("")
    page = write_search_report(contents(TRIALS), tmp_path).read_text()
    assert '<a href="confirm/report.html">' in page
    assert "--confirm" not in page


def test_position_of_a_value_is_the_number_or_its_index() -> None:
    assert position_in(Range(0, 50, unit="%"), "12.5%") == 12.5
    assert position_in(Range(0, 10, unit="%"), "12.5%") == 12.5  # from before the range was changed
    assert position_in(Values(("linear", {"name": "lstm"})), {"name": "lstm"}) == 1


def test_figures_are_written_for_papers_and_earlier_ones_are_removed(tmp_path: Path) -> None:
    trials = [trial(number, metric, second=float(number)) for number, metric in enumerate((0.5, 0.75, 0.625))]
    search = parse_search({**SEARCH, "minimize": "seconds"})
    for made, names in (
        (contents(trials, search=search), ("expected_performance", "trade_offs", "searched_settings")),
        (contents(TRIALS), ("expected_performance", "searched_settings")),
        (contents([]), ()),
    ):
        write_search_report(made, tmp_path)
        expected = {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")}
        assert {path.name for path in (tmp_path / "report" / "figures").iterdir()} == expected


def test_selection_is_drawn_only_if_a_search_chose_the_arms() -> None:
    assert list(draw_selection({}, "accuracy")) == []
    (picture,) = draw_selection({"values": [0.5, 0.75], "hours": 0.1}, "accuracy")
    assert "1 configuration: expected 0.6250" in picture.alt
    assert "best 0.7500" in picture.alt


def test_trade_offs_of_a_selection_are_drawn() -> None:
    selection = {"values": [0.5, 0.75, 0.7], "hours": 0.1, "minimized": "seconds", "second_values": [1.0, 2.0, 3.0]}
    budget, trade_offs = draw_selection(selection, "accuracy")
    assert (budget.name, trade_offs.name) == ("expected_performance", "trade_offs")
    assert trade_offs.alt.endswith("1. 0.7500 at 2; 2. 0.5000 at 1")

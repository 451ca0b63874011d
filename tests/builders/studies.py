"""Studies for tests of their report: of real runs, and of files that are written by hand."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from research import RunConfig, run_experiment
from research.studies.grid import StudySpec, Trial, expand
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.ranking import rank_arms

SMALL = {
    "batch_size": 8,
    "max_length": 32,
    "max_steps": 4,
    "mixed_precision": "no",
    "num_threads": 1,
    "log_every": 1,
    "log_with": [],
    "report": False,
    "freeze": ["encoder"],
}
"""Settings of runs that take less than a second."""
HOSTILE = '<script>document.body.remove()</script> & <b>bold</b> "quoted" | a_b_ $x_{$'
"""Name of an arm, and text of rows, with commands for pages, Markdown, tables and pictures."""


def run_study(directory: Path, spec: StudySpec) -> StudyOutcomes:
    """Run all trials of a study, one after the other, and return their outcomes."""
    outcomes = []
    for expanded in expand(spec):
        trial = dataclasses.replace(expanded, arm=expanded.axes.get("arm", expanded.arm))  # slashes and all
        place = directory / "trials" / trial.id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # accelerate's own
            run_experiment(trial.config(output_dir=str(place)))
        outcomes.append(Outcome(trial, place, "finished", json.loads((place / "result.json").read_text())))
    return StudyOutcomes(spec, directory, outcomes)


def changed(study: StudyOutcomes, changes: Mapping[int, dict[str, Any]]) -> StudyOutcomes:
    """Return a study in which some outcomes, by their number, are other ones."""
    outcomes = [dataclasses.replace(outcome, **changes.get(index, {})) for index, outcome in enumerate(study.outcomes)]
    return dataclasses.replace(study, outcomes=outcomes)


def trial_of(arm: str, seed: int, **settings: Any) -> Trial:
    """Return a trial that nobody ran."""
    kept = RunConfig(**{"seed": seed, **settings}).to_recipe()
    return Trial(f"{arm}-{seed}", arm, seed, {"seed": seed}, kept)


def written_study(
    directory: Path,
    predictions: Mapping[str, Sequence[Sequence[Any]]],
    labels: Sequence[Any],
    *,
    num_labels: int = 2,
    **settings: Any,
) -> StudyOutcomes:
    """Return a study whose trials have left predictions for the test rows, and nothing else.

    Args:
        directory: where it lies.
        predictions: by arm, of each seed the predictions for all rows.
        labels: of the rows.
        num_labels: how many labels there are; of lists of labels their length.
        **settings: of all trials.
    """
    outcomes = []
    num_labels = len(labels[0]) if isinstance(labels[0], list) else num_labels
    names = ["score"] if isinstance(labels[0], float) else [f"label{i}" for i in range(num_labels)]
    for arm, of_arm in predictions.items():
        for seed, predicted in enumerate(of_arm):
            trial = trial_of(arm, seed, **settings)
            place = directory / "trials" / trial.id / "predictions"
            place.mkdir(parents=True)
            columns = {"id": range(0, 10 * len(labels), 10), "label": labels, "prediction": predicted}
            columns |= {f"score_{name}": [0.5] * len(labels) for name in names}
            pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), place / "test.parquet")
            outcomes.append(Outcome(trial, place.parent, "finished", {"metrics": {"validation": {}, "test": {}}}))
    return StudyOutcomes(StudySpec(name="written"), directory, outcomes)


def elsewhere(study: StudyOutcomes, directory: Path) -> StudyOutcomes:
    """Return the same study on a machine that has none of its files."""
    outcomes = [
        dataclasses.replace(
            outcome,
            directory=directory / "trials" / outcome.trial.id,
            result={"metrics": outcome.result["metrics"]} if outcome.result else None,
        )
        for outcome in study.outcomes
    ]
    return dataclasses.replace(study, directory=directory, outcomes=outcomes)


def rows_of(table: str, page: str) -> list[list[str]]:
    """Return the cells of a table's body, as they are read."""
    found = re.search(rf'id="{table}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None, table
    rows = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]


def results(study: StudyOutcomes) -> dict[str, dict[str, Any]]:
    """Return what the result.json files themselves say."""
    return {o.trial.id: json.loads((o.directory / "result.json").read_text()) for o in study.outcomes}


def verdicts(study: StudyOutcomes) -> dict[str, str | None]:
    """Return the verdict on each arm but the baseline, by accuracy."""
    ranked = rank_arms(study, "accuracy")
    return {each.arm: each.comparison.verdict for each in ranked if each.comparison is not None}

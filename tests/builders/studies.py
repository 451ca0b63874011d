"""Studies for tests of their reports, with real runs or with files written by hand."""

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
"""Name of an arm and text of rows, with markup for HTML, Markdown, tables and pictures."""


def run_study(directory: Path, spec: StudySpec) -> StudyOutcomes:
    """Run all trials of a study, one after the other, and return their outcomes."""
    outcomes = []
    for expanded in expand(spec):
        trial = dataclasses.replace(
            expanded, arm=expanded.axes.get("arm", expanded.arm)
        )  # names of arms may contain slashes
        trial_directory = directory / "trials" / trial.id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of accelerate
            run_experiment(trial.config(output_dir=str(trial_directory)))
        outcomes.append(
            Outcome(trial, trial_directory, "finished", json.loads((trial_directory / "result.json").read_text()))
        )
    return StudyOutcomes(spec, directory, outcomes)


def changed(study: StudyOutcomes, changes: Mapping[int, dict[str, Any]]) -> StudyOutcomes:
    """Return a copy of a study with changed fields in some outcomes, by their index."""
    outcomes = [dataclasses.replace(outcome, **changes.get(index, {})) for index, outcome in enumerate(study.outcomes)]
    return dataclasses.replace(study, outcomes=outcomes)


def trial_of(arm: str, seed: int, **settings: Any) -> Trial:
    """Return a trial that has not run."""
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
    """Return a study whose trials have written only predictions for the test rows.

    Args:
        directory: directory of the study.
        predictions: predictions for all rows, for each arm and seed.
        labels: true labels of the rows.
        num_labels: number of labels; if labels are lists, their length is used instead.
        **settings: settings of all trials.
    """
    outcomes = []
    num_labels = len(labels[0]) if isinstance(labels[0], list) else num_labels
    names = ["score"] if isinstance(labels[0], float) else [f"label{i}" for i in range(num_labels)]
    for arm, of_arm in predictions.items():
        for seed, predicted in enumerate(of_arm):
            trial = trial_of(arm, seed, **settings)
            trial_directory = directory / "trials" / trial.id / "predictions"
            trial_directory.mkdir(parents=True)
            columns = {"id": range(0, 10 * len(labels), 10), "label": labels, "prediction": predicted}
            columns |= {f"score_{name}": [0.5] * len(labels) for name in names}
            pq.write_table(
                pa.table({name: list(column) for name, column in columns.items()}), trial_directory / "test.parquet"
            )
            outcomes.append(
                Outcome(trial, trial_directory.parent, "finished", {"metrics": {"validation": {}, "test": {}}})
            )
    return StudyOutcomes(StudySpec(name="written"), directory, outcomes)


def elsewhere(study: StudyOutcomes, directory: Path) -> StudyOutcomes:
    """Return the same study as on a machine that has none of its files."""
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
    """Return the text of the cells in a table's body, row by row."""
    found = re.search(rf'id="{table}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None, table
    rows = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]


def results(study: StudyOutcomes) -> dict[str, dict[str, Any]]:
    """Return the contents of the result.json files by trial."""
    return {o.trial.id: json.loads((o.directory / "result.json").read_text()) for o in study.outcomes}


def verdicts(study: StudyOutcomes) -> dict[str, str | None]:
    """Return the verdict by accuracy on each arm except the baseline."""
    ranked = rank_arms(study, "accuracy")
    return {each.arm: each.comparison.verdict for each in ranked if each.comparison is not None}

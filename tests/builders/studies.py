"""Build studies for tests of study reports, from real runs or from files written directly."""

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

FAST_SETTINGS = {
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
"""Settings with which a run takes less than a second."""
HOSTILE = '<script>document.body.remove()</script> & <b>bold</b> "quoted" | a_b_ $x_{$'
"""Name for arms and text for rows, with characters that are special in HTML, Markdown, tables and figures."""


def run_study(directory: Path, spec: StudySpec) -> StudyOutcomes:
    """Run all trials of a study, one after the other, and return their outcomes."""
    outcomes = []
    for expanded in expand(spec):
        # If a study has a single arm, `expand` names the arm after its head. Use the name that the study gives instead.
        trial = dataclasses.replace(expanded, arm=expanded.axes.get("arm", expanded.arm))
        trial_directory = directory / "trials" / trial.id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # accelerate emits warnings
            run_experiment(trial.config(output_dir=str(trial_directory)))
        outcomes.append(
            Outcome(trial, trial_directory, "finished", json.loads((trial_directory / "result.json").read_text()))
        )
    return StudyOutcomes(spec, directory, outcomes)


def with_changed_outcomes(study: StudyOutcomes, changes: Mapping[int, dict[str, Any]]) -> StudyOutcomes:
    """Return a copy of a study in which some outcomes are changed.

    Args:
        study: the study.
        changes: new values of fields, by the index of the outcome to change.
    """
    outcomes = [dataclasses.replace(outcome, **changes.get(index, {})) for index, outcome in enumerate(study.outcomes)]
    return dataclasses.replace(study, outcomes=outcomes)


def make_trial(arm: str, seed: int, **settings: Any) -> Trial:
    """Return a trial that has not run."""
    recipe = RunConfig(**{"seed": seed, **settings}).to_recipe()
    return Trial(f"{arm}-{seed}", arm, seed, {"seed": seed}, recipe)


def study_with_predictions(
    directory: Path,
    predictions: Mapping[str, Sequence[Sequence[Any]]],
    labels: Sequence[Any],
    *,
    num_labels: int = 2,
    **settings: Any,
) -> StudyOutcomes:
    """Write the predictions of a study's trials for the test rows, and return the study. No other files are written.

    All scores (the predicted probabilities) are 0.5.

    Args:
        directory: directory of the study.
        predictions: for each arm, one sequence of predictions per seed.
        labels: true labels of the rows.
        num_labels: number of labels; ignored if the labels are lists, whose length is used instead.
        **settings: settings of all trials.
    """
    outcomes = []
    num_labels = len(labels[0]) if isinstance(labels[0], list) else num_labels
    names = ["score"] if isinstance(labels[0], float) else [f"label{i}" for i in range(num_labels)]
    for arm, predictions_by_seed in predictions.items():
        for seed, predicted in enumerate(predictions_by_seed):
            trial = make_trial(arm, seed, **settings)
            trial_directory = directory / "trials" / trial.id
            (trial_directory / "predictions").mkdir(parents=True)
            # The ids differ from the positions of the rows, so that a test fails if code confuses the two.
            columns = {"id": range(0, 10 * len(labels), 10), "label": labels, "prediction": predicted}
            columns |= {f"score_{name}": [0.5] * len(labels) for name in names}
            pq.write_table(
                pa.table({name: list(column) for name, column in columns.items()}),
                trial_directory / "predictions" / "test.parquet",
            )
            outcomes.append(Outcome(trial, trial_directory, "finished", {"metrics": {"validation": {}, "test": {}}}))
    return StudyOutcomes(StudySpec(name="written"), directory, outcomes)


def without_files(study: StudyOutcomes, directory: Path) -> StudyOutcomes:
    """Return a copy of the study whose trials have no files, as on a machine to which the files were not copied.

    Args:
        study: the study.
        directory: an empty directory, which becomes the directory of the study.
    """
    outcomes = [
        dataclasses.replace(
            outcome,
            directory=directory / "trials" / outcome.trial.id,
            result={"metrics": outcome.result["metrics"]} if outcome.result else None,
        )
        for outcome in study.outcomes
    ]
    return dataclasses.replace(study, directory=directory, outcomes=outcomes)


def table_cells(table: str, page: str) -> list[list[str]]:
    """Return the text of the cells in the body of a table, row by row.

    Args:
        table: id of the table.
        page: HTML of the page.
    """
    match = re.search(rf'id="{table}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert match is not None, table
    rows = re.findall(r"<tr.*?</tr>", match[1], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row.replace("<wbr>", ""), re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]


def read_result_files(study: StudyOutcomes) -> dict[str, dict[str, Any]]:
    """Return the content of each trial's result.json by the id of the trial."""
    return {outcome.trial.id: json.loads((outcome.directory / "result.json").read_text()) for outcome in study.outcomes}


def accuracy_verdicts(study: StudyOutcomes) -> dict[str, str | None]:
    """Return the verdict on the accuracy of each arm except the baseline."""
    ranked_arms = rank_arms(study, "accuracy")
    return {ranked.arm: ranked.comparison.verdict for ranked in ranked_arms if ranked.comparison is not None}

"""Everything that the report of a study says, before it is a page; and why what it does not say is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, get_args

from research.studies.outcomes import State, StudyOutcomes, describe_unlabelled
from research.studies.report.breakdown import Breakdown, by_label, by_length
from research.studies.report.costs import ArmCost, find_costs
from research.studies.report.curves import ArmCurves, ArmEdit, read_arm_curves, read_arm_edits
from research.studies.report.disagreements import Disagreement, find_disagreements
from research.studies.report.environment import find_environment
from research.studies.report.examples import ModelsCompared, compare_models_of_arms
from research.studies.report.missing import Missing, find_missing
from research.studies.report.ranking import RankedArm, choose_metric, rank_arms
from research.studies.report.rows import StudyRows, read_rows
from research.studies.report.settings import ComparedSettings, Repetition, find_settings, repeat_trials
from research.studies.report.texts import StudyTexts, read_texts
from research.studies.statistics.power import MIN_SEEDS
from research.system.errors import one_line
from research.system.plain_text import LONGEST_IN_PAGE, shorten
from research.tasks.metric_names import higher_is_better, metric_bounds

TEXTS_OF = "validation"
"""Whoever changes an arm for what he reads in the test rows has no test rows any more."""
Part = TypeVar("Part")


@dataclass
class Contents:
    """What there is to say of a study."""

    study: StudyOutcomes
    """Its outcomes."""
    missing: Missing
    """What it has not, or not here."""
    settings: ComparedSettings
    """What its trials share, and in what its arms differ."""
    environment: Mapping[str, Sequence[str]]
    """What its trials ran with."""
    repetitions: Sequence[Repetition]
    """How each is repeated."""
    costs: Sequence[ArmCost]
    """Time and trainable parameters."""
    edits: Sequence[ArmEdit]
    """Of all journals."""
    losses: Sequence[ArmCurves]
    """Of training steps."""
    metric: str | None = None
    """What is compared; None while nothing is finished."""
    ranked: Sequence[RankedArm] = ()
    """The arms, best first."""
    validation: Sequence[ArmCurves] = ()
    """The metric over the steps."""
    left_out: Sequence[str] = ()
    """Finished trials whose predictions are not here or cannot be read."""
    models: Sequence[ModelsCompared] = ()
    """Tests over examples."""
    breakdowns: Sequence[Breakdown] = ()
    """By length and label."""
    disagreements: Sequence[Disagreement] = ()
    """Rows on which the arms differ most."""
    num_disagreements: int = 0
    """Rows on which they differ at all."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a part is left out, by its name: ranking, models, by length, by label, disagreements."""

    @property
    def summary(self) -> str:
        """Return how the study stands, in a sentence."""
        outcomes = self.study.outcomes
        counts = {state: sum(outcome.state == state for outcome in outcomes) for state in get_args(State)}
        states = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
        num_seeds = len({outcome.trial.seed for outcome in outcomes})
        sizes = [_count(len(self.study.arms), "arm"), _count(num_seeds, "seed"), _count(len(outcomes), "trial")]
        words = f"{', '.join(sizes)}: {states}."
        if self.study.num_outside_grid:
            others = _count(self.study.num_outside_grid, "more finished trial")
            words += f" In its storage: {others}, which the grid does not ask for now and the report leaves out."
        return words

    @property
    def method(self) -> str:
        """Return what the numbers of the ranking are, in sentences."""
        assert self.metric is not None
        baseline = shorten(self.study.baseline, LONGEST_IN_PAGE)
        better = "more" if higher_is_better(self.metric) else "less"
        return (
            f"Of {self.metric}, {better} is better. Mean and standard deviation (n - 1) over seeds; 95% intervals by "
            f"Student's t{_scale(metric_bounds(self.metric))}. Differences are to {baseline}, paired by "
            "seed (paired t), their intervals each for itself; p (Holm) is corrected for all comparisons of the study. "
            f"A verdict is at the 5% level and takes {MIN_SEEDS} common seeds. Seeds needed: in all, to find the "
            "observed difference with 80% power."
        )

    def attempt(self, part: str, make: Callable[[], Part], otherwise: Part) -> Part:
        """Return a part of the report, or, where it cannot be made of what is here, note why."""
        try:
            return make()
        except (ValueError, OSError) as error:
            self.reasons[part] = one_line(error)
            return otherwise


def _scale(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if math.isinf(low):
        return ""
    return " on a log scale" if math.isinf(high) else f" on a logit scale from {low:g} to {high:g}"


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}" if number == 1 else f"{number:,} {of}s"


def find_contents(study: StudyOutcomes, *, show_texts: bool = True) -> Contents:
    """Return everything that the report of a study says.

    Args:
        study: its outcomes.
        show_texts: whether it shows texts of rows.
    """
    contents = Contents(
        study,
        find_missing(study),
        find_settings(study),
        find_environment(study),
        repeat_trials(study),
        find_costs(study),
        read_arm_edits(study),
        read_arm_curves(study, "loss", smooth=True),
        metric=choose_metric(study),
    )
    if not study.finished:
        return contents
    metric = contents.metric
    if study.is_unlabelled(study.spec.split):
        contents.reasons["ranking"] = describe_unlabelled(study.spec.split)
    elif metric is None:
        contents.reasons["ranking"] = "no trial has one of the metrics that are compared by default; name one"
    else:
        contents.ranked = contents.attempt("ranking", lambda: rank_arms(study, metric), [])
        contents.validation = read_arm_curves(study, f"validation/{metric}", smooth=False)
    _compare_rows(contents, show_texts=show_texts)
    return contents


def _compare_rows(contents: Contents, *, show_texts: bool) -> None:
    """Find what needs the predictions of single rows, and their texts."""
    study, split = contents.study, contents.study.spec.split
    rows = contents.attempt("rows", lambda: read_rows(study, split), None)
    if rows is None:
        for part in ("models", "by length", "by label", "disagreements"):
            contents.reasons[part] = contents.reasons["rows"]
        return
    contents.left_out = rows.left_out
    contents.models = contents.attempt("models", lambda: compare_models_of_arms(rows, study.baseline), [])
    parts: list[Breakdown | None] = []
    first = next((o for o in study.outcomes if o.trial.arm == study.baseline), study.outcomes[0])
    texts = contents.attempt("texts", lambda: read_texts(first.trial), None)
    if texts is None:
        contents.reasons["by length"] = contents.reasons["disagreements"] = contents.reasons["texts"]
    else:
        parts.append(contents.attempt("by length", lambda: by_length(rows, texts), None))
        if show_texts:
            _read_disagreements(contents, rows, texts)
        else:
            contents.reasons["disagreements"] = "texts were to be left out (--report_texts false)"
    parts.append(contents.attempt("by label", lambda: by_label(rows), None))
    contents.breakdowns = [part for part in parts if part is not None]


def _read_disagreements(contents: Contents, rows: StudyRows, texts: StudyTexts) -> None:
    study = contents.study
    if len(study.arms) < 2:
        contents.reasons["disagreements"] = "there is one arm"
        return

    shown = (
        rows if rows.split == TEXTS_OF else contents.attempt("disagreements", lambda: read_rows(study, TEXTS_OF), None)
    )
    if shown is None:
        return
    if len(shown.places) < 2:
        contents.reasons["disagreements"] = "there are predictions of one arm only on this machine"
        return
    none: tuple[list[Disagreement], int] = ([], 0)
    found = contents.attempt("disagreements", lambda: find_disagreements(shown, texts), none)
    contents.disagreements, contents.num_disagreements = found

"""The contents of a study's report, independent of its format, and the reasons for missing parts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, get_args

from research.studies.outcomes import StudyOutcomes, describe_unlabelled
from research.studies.progress import format_count
from research.studies.report.best_arm import BestArm, find_best_arm
from research.studies.report.breakdown import Breakdown, break_down_by_label, break_down_by_length
from research.studies.report.costs import ArmCost, find_costs, total_device_hours
from research.studies.report.curves import ArmCurves, ArmEdit, read_arm_curves, read_arm_edits
from research.studies.report.disagreements import Disagreement, find_disagreements
from research.studies.report.environment import find_environment
from research.studies.report.missing import Missing, find_missing
from research.studies.report.missing_verdicts import describe_missing_verdicts
from research.studies.report.model_comparisons import ModelComparison, compare_models_of_arms
from research.studies.report.ranking import RankedArm, RankingDecimals, choose_metric, rank_arms
from research.studies.report.rows import StudyRows, read_rows
from research.studies.report.second_opinions import SecondOpinion, find_second_opinions
from research.studies.report.settings import ComparedSettings, TrialCommand, find_settings, trial_commands
from research.studies.report.styles import MANY_ARMS
from research.studies.report.texts import StudyTexts, read_texts
from research.studies.statistics.paired_t import LEVEL
from research.studies.statistics.power import MIN_SEEDS, POWER
from research.studies.storage.trials import Status
from research.studies.units import count_seeds
from research.system.errors import one_line
from research.system.plain_text import LONGEST_IN_PAGE, shorten
from research.tasks.metric_names import higher_is_better, metric_bounds

TEXTS_SPLIT = "validation"
"""Texts are shown for validation rows only, because whoever reads test rows and then changes an arm can no
longer trust its test metrics."""
Part = TypeVar("Part")


@dataclass
class Contents:
    """Contents of the report of a study."""

    study: StudyOutcomes
    """Outcomes of the trials."""
    missing: Missing
    """Trials without results, and files that are not on this machine."""
    settings: ComparedSettings
    """Settings that the arms share, and settings in which they differ."""
    environment: Mapping[str, Sequence[str]]
    """Commit, number of processes and package versions."""
    commands: Sequence[TrialCommand]
    """Commands that repeat the trials."""
    costs: Sequence[ArmCost]
    """Time and trainable parameters of each arm."""
    edits: Sequence[ArmEdit]
    """Edits in the journals of all trials."""
    metric: str | None = None
    """The compared metric; None if no trial is finished."""
    ranked: Sequence[RankedArm] = ()
    """The arms, best first."""
    second_opinions: Sequence[SecondOpinion] = ()
    """Further tests of the arms with a verdict, which do not affect it."""
    best: BestArm | None = None
    """The best arm and its comparisons with all others; None if no arm has a value."""
    loss_curves: Sequence[ArmCurves] = ()
    """Training loss over the steps of the arms in `drawn_arms`."""
    validation_curves: Sequence[ArmCurves] = ()
    """The compared metric on validation rows over the steps of the arms in `drawn_arms`."""
    skipped_trials: Sequence[str] = ()
    """Finished trials whose predictions are not on this machine or cannot be read, each with the reason."""
    model_comparisons: Sequence[ModelComparison] = ()
    """For each arm, tests over rows that compare its models with those of the baseline."""
    breakdowns: Sequence[Breakdown] = ()
    """Results by length and by label."""
    disagreements: Sequence[Disagreement] = ()
    """Rows on which the arms differ most."""
    num_disagreements: int = 0
    """Total number of rows on which the arms differ."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a part is missing, by name of the part: ranking, rows, texts, models, by length, by label, disagreements."""

    @property
    def has_many_arms(self) -> bool:
        """Whether tables have one row per arm and are collapsed, and curves show only `drawn_arms`."""
        return len(self.study.arms) > MANY_ARMS

    @property
    def drawn_arms(self) -> list[str]:
        """Return the arms with curves and names in figures: all, or if there are many, the best and the baseline."""
        if not self.has_many_arms:
            return self.study.arms
        return list(dict.fromkeys([*([self.best.arm] if self.best else []), self.study.baseline]))

    @functools.cached_property
    def total_device_hours(self) -> float | None:
        """Return the device hours of all finished trials and their common pasts; None if one of them is not known."""
        return total_device_hours(self.study)

    @property
    def decimals(self) -> RankingDecimals:
        """Return the number of decimals in the columns of the ranking."""
        return RankingDecimals.of(self.ranked)

    @property
    def missing_verdicts(self) -> list[str]:
        """Return a sentence about each group of arms in the ranking without a verdict."""
        return describe_missing_verdicts([each.comparison for each in self.ranked if each.comparison is not None])

    @property
    def summary(self) -> str:
        """Return a sentence with the size of the study and the states of its trials."""
        outcomes = self.study.outcomes
        counts = {state: sum(outcome.state == state for outcome in outcomes) for state in get_args(Status)}
        states = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
        num_seeds = count_seeds(outcome.trial.unit for outcome in outcomes)
        num_folds = self.study.num_folds
        sizes = [
            format_count(len(self.study.arms), "arm"),
            format_count(num_seeds, "seed"),
            *([] if num_folds is None else [format_count(num_folds, "fold")]),
            format_count(len(outcomes), "trial"),
        ]
        text = f"{', '.join(sizes)}: {states}."
        if self.study.spec.fork_at is not None:
            text += f" The arms fork a common past at {self.study.spec.fork_at}, which was trained once for each seed."
        if self.study.num_finished_outside_grid:
            outside = format_count(self.study.num_finished_outside_grid, "more finished trial")
            text += f" Not included: {outside} in the storage, outside the current grid."
        return text

    @property
    def units(self) -> str:
        """Return what pairs the trials of two arms: seeds, or folds (of all seeds)."""
        return "seeds" if self.study.num_folds is None else "folds"

    @property
    def method(self) -> str:
        """Return an explanation of the values and tests of the ranking."""
        assert self.metric is not None
        baseline = shorten(self.study.baseline, LONGEST_IN_PAGE)
        better = "Higher" if higher_is_better(self.metric) else "Lower"
        return (
            f"{better} {self.metric} is better. Means and standard deviations (sd, with n - 1) are over {self.units}. "
            "The 95% confidence intervals (CI) of the means are based on Student's t distribution"
            f"{_describe_scale(metric_bounds(self.metric))}. Differences are relative to {baseline} and are tested "
            f"{self._describe_test()}. The confidence intervals of the differences are not corrected for the number of "
            "comparisons. p (Holm) is the p value after Holm's correction for all comparisons of the "
            f"study. The verdict is better or worse if p (Holm) is at most {LEVEL}; it requires at least {MIN_SEEDS} "
            f"common {self.units}. The number of seeds needed is the total number of seeds that would detect the "
            f"observed difference with {POWER:.0%} power, at a level of {LEVEL:.0%} divided by the number of "
            "comparisons."
        )

    def _describe_test(self) -> str:
        if self.study.num_folds is None:
            return "with a paired t test over the common seeds"
        return (
            "with the corrected resampled t test over the common folds (Nadeau and Bengio 2003), which takes into "
            "account that the training rows of the folds overlap. Each seed makes its own folds"
        )

    def attempt(self, part: str, make: Callable[[], Part], otherwise: Part) -> Part:
        """Make a part of the report; if that fails, store the reason and return a substitute.

        Args:
            part: name of the part.
            make: function that makes the part.
            otherwise: the substitute.
        """
        try:
            return make()
        except (ValueError, OSError) as error:
            self.reasons[part] = one_line(error)
            return otherwise


def _describe_scale(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if math.isinf(low):
        return ""
    return " on a log scale" if math.isinf(high) else f" on a logit scale from {low:g} to {high:g}"


def collect_contents(study: StudyOutcomes, *, show_texts: bool = True) -> Contents:
    """Collect the contents of a study's report.

    Args:
        study: outcomes of the study.
        show_texts: whether the report shows texts of rows.
    """
    contents = Contents(
        study,
        find_missing(study),
        find_settings(study),
        find_environment(study),
        trial_commands(study),
        find_costs(study),
        read_arm_edits(study),
        metric=choose_metric(study),
    )
    if study.finished:
        _collect_ranking(contents)
    contents.loss_curves = read_arm_curves(study, "loss", contents.drawn_arms, smooth=True)
    if study.finished:
        _collect_row_comparisons(contents, show_texts=show_texts)
    return contents


def _collect_ranking(contents: Contents) -> None:
    study, metric = contents.study, contents.metric
    if study.is_unlabelled(study.spec.split):
        contents.reasons["ranking"] = describe_unlabelled(study.spec.split)
    elif metric is None:
        contents.reasons["ranking"] = (
            "no trial has one of the metrics that are compared by default; choose one with --metric"
        )
    else:
        contents.ranked = contents.attempt("ranking", lambda: rank_arms(study, metric), [])
        contents.second_opinions = find_second_opinions(contents.ranked, higher_is_better=higher_is_better(metric))
        contents.best = find_best_arm(study, metric, contents.ranked)
        contents.validation_curves = read_arm_curves(study, f"validation/{metric}", contents.drawn_arms, smooth=False)


def _collect_row_comparisons(contents: Contents, *, show_texts: bool) -> None:
    """Collect the parts that need predictions and texts of single rows."""
    study, split = contents.study, contents.study.spec.split
    rows = contents.attempt("rows", lambda: read_rows(study, split), None)
    if rows is None:
        for part in ("models", "by length", "by label", "disagreements"):
            contents.reasons[part] = contents.reasons["rows"]
        return
    contents.skipped_trials = rows.skipped_trials
    contents.model_comparisons = contents.attempt("models", lambda: compare_models_of_arms(rows, study.baseline), [])
    parts: list[Breakdown | None] = []
    # All trials read the same rows; the baseline's tokenizer is used for counting tokens.
    baseline_outcome = next(
        (outcome for outcome in study.outcomes if outcome.trial.arm == study.baseline), study.outcomes[0]
    )
    texts = contents.attempt("texts", lambda: read_texts(baseline_outcome.trial), None)
    if texts is None:
        contents.reasons["by length"] = contents.reasons["disagreements"] = contents.reasons["texts"]
    else:
        parts.append(contents.attempt("by length", lambda: break_down_by_length(rows, texts), None))
        if show_texts:
            _collect_disagreements(contents, rows, texts)
        else:
            contents.reasons["disagreements"] = "texts are hidden (--report_texts false)"
    parts.append(contents.attempt("by label", lambda: break_down_by_label(rows), None))
    contents.breakdowns = [part for part in parts if part is not None]


def _collect_disagreements(contents: Contents, rows: StudyRows, texts: StudyTexts) -> None:
    study = contents.study
    if len(study.arms) < 2:
        contents.reasons["disagreements"] = "there is only one arm"
        return
    rows_to_show = (
        rows
        if rows.split == TEXTS_SPLIT
        else contents.attempt("disagreements", lambda: read_rows(study, TEXTS_SPLIT), None)
    )
    if rows_to_show is None:
        return
    if len(rows_to_show.model_indices) < 2:
        contents.reasons["disagreements"] = "this machine has predictions of only one arm"
        return
    empty: tuple[list[Disagreement], int] = ([], 0)
    contents.disagreements, contents.num_disagreements = contents.attempt(
        "disagreements", lambda: find_disagreements(rows_to_show, texts), empty
    )

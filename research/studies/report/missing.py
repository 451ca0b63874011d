"""What a study has not, or not here: nothing of it is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.records.results import predictions_path
from research.settings.run_files import CONFIG, JOURNAL, METRICS_LOG, RESULT
from research.studies.outcomes import Outcome, StudyOutcomes


@dataclass(frozen=True)
class Missing:
    """The trials that have no result, and those whose files are not all here."""

    failed: Sequence[Outcome]
    """With their errors."""
    running: Sequence[Outcome]
    """Begun and not at their end."""
    waiting: Sequence[Outcome]
    """Not begun."""
    elsewhere: Sequence[tuple[Outcome, list[str]]]
    """Finished ones, and which of their files are not on this machine."""

    @property
    def is_nothing(self) -> bool:
        """Whether all trials are finished and here."""
        return not (self.failed or self.running or self.waiting or self.elsewhere)


def find_missing(study: StudyOutcomes) -> Missing:
    """Return what a study has not, or not here."""
    by_state = {
        state: [each for each in study.outcomes if each.state == state] for state in ("failed", "running", "waiting")
    }
    incomplete = [(outcome, _missing_files(outcome)) for outcome in study.finished]
    return Missing(**by_state, elsewhere=[(outcome, files) for outcome, files in incomplete if files])


def _missing_files(outcome: Outcome) -> list[str]:
    directory = outcome.directory
    if not directory.is_dir():
        return ["all of them"]
    paths = [directory / name for name in (RESULT, CONFIG, METRICS_LOG, JOURNAL)]
    paths += [predictions_path(directory, split) for split in ("validation", "test")]
    return [str(path.relative_to(directory)) for path in paths if not path.exists()]

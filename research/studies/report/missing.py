"""Missing results of a study, so that its report hides no gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.records.predictions_file import predictions_path
from research.settings.run_files import CONFIG, JOURNAL, METRICS_LOG, RESULT
from research.studies.outcomes import Outcome, StudyOutcomes


@dataclass(frozen=True)
class Missing:
    """Trials without a result, and finished trials with files that are not on this machine."""

    failed: Sequence[Outcome]
    """Failed trials."""
    running: Sequence[Outcome]
    """Trials that have started but not ended."""
    waiting: Sequence[Outcome]
    """Trials that have not started."""
    with_missing_files: Sequence[tuple[Outcome, list[str]]]
    """Finished trials with files that are not on this machine, each with the names of these files."""

    @property
    def is_empty(self) -> bool:
        """Whether all trials are finished and all of their files are on this machine."""
        return not (self.failed or self.running or self.waiting or self.with_missing_files)


def find_missing(study: StudyOutcomes) -> Missing:
    """Return the missing results of a study."""
    by_state = {
        state: [each for each in study.outcomes if each.state == state] for state in ("failed", "running", "waiting")
    }
    incomplete = [(outcome, _missing_files(outcome)) for outcome in study.finished]
    return Missing(**by_state, with_missing_files=[(outcome, files) for outcome, files in incomplete if files])


def _missing_files(outcome: Outcome) -> list[str]:
    directory = outcome.directory
    if not directory.is_dir():
        return ["all files"]
    paths = [directory / name for name in (RESULT, CONFIG, METRICS_LOG, JOURNAL)]
    paths += [predictions_path(directory, split) for split in ("validation", "test")]
    return [str(path.relative_to(directory)) for path in paths if not path.exists()]

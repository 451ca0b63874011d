"""Without a terminal, the progress of a study is printed line by line."""

from __future__ import annotations

import io
from pathlib import Path

from optuna.trial import TrialState

from research.studies.grid import StudySpec, expand
from research.studies.progress import StudyProgress
from research.studies.storage.trials import StorageEntry
from research.studies.worker import events_path
from research.system.events import recording_events, report_hidden_states
from research.system.messages import logger
from research.system.terminal import Terminal


def test_start_and_end_of_a_trial_print_one_line_each(tmp_path: Path) -> None:
    first, second = expand(StudySpec(grid={"seed": [3, 4]}))
    printed = io.StringIO()
    with StudyProgress([first, second], Terminal(file=printed), tmp_path) as progress:
        progress.show({})
        assert printed.getvalue() == ""
        running = StorageEntry(first, TrialState.RUNNING, {}, key=1)
        waiting = StorageEntry(second, TrialState.WAITING, {}, key=2)
        for _ in range(3):
            progress.show({first.id: running, second.id: waiting})
        (line,) = printed.getvalue().splitlines()
        assert "seed 3" in line
        progress.show({first.id: StorageEntry(first, TrialState.COMPLETE, {"seconds": 2.0}, key=1, value=0.75)})
    assert len(printed.getvalue().splitlines()) == 2
    assert "0.7500" in printed.getvalue()


def test_warnings_and_hidden_states_messages_are_shown_once_for_all_trials(tmp_path: Path) -> None:
    trials = expand(StudySpec(grid={"seed": [3, 4]}))
    entries = {trial.id: StorageEntry(trial, TrialState.RUNNING, {}, key=key) for key, trial in enumerate(trials)}
    message = "Hidden states are not cached: the encoder trains."
    printed = io.StringIO()
    with StudyProgress(trials, Terminal(file=printed), tmp_path) as progress:
        progress.show(entries)
        for trial in trials:
            events_path(tmp_path, trial.id).parent.mkdir(exist_ok=True)
            with recording_events(events_path(tmp_path, trial.id)):
                logger.info("Reading reviews.csv")
                report_hidden_states(message)
                logger.warning("both favour rare labels")
            progress.show(entries)
    assert printed.getvalue().count(message) == 1
    assert printed.getvalue().count("Warning: both favour rare labels") == 1
    assert "Reading" not in printed.getvalue()  # all other messages of trials are only logged

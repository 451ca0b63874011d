"""TensorBoard's table of hyperparameters has every trial of a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from research.studies.outcomes import StudyOutcomes
from research.studies.report.page import write_study_report


def test_hparams_contain_each_trial_once(page: Path, finished_study: StudyOutcomes) -> None:
    write_study_report(finished_study)  # `page` has already written the report, so this must replace its entries
    folder = page.parent / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {outcome.trial.id for outcome in finished_study.outcomes}
    for outcome in finished_study.outcomes:
        (file,) = (folder / outcome.trial.id).iterdir()
        events = EventAccumulator(str(file))
        events.Reload()
        metrics = json.loads((outcome.directory / "result.json").read_text())["metrics"]
        expected = {f"{split}/{name}": value for split in metrics for name, value in metrics[split].items()}
        assert set(events.Tags()["scalars"]) == expected.keys()
        for name, value in expected.items():
            (event,) = events.Scalars(name)
            assert event.value == pytest.approx(value, rel=1e-6)
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        assert hparams["arm"].string_value == outcome.trial.arm
        assert hparams["seed"].number_value == outcome.trial.seed
        # Besides arm and seed, the settings that differ between arms.
        assert hparams.keys() == {"arm", "seed", "head", "lr", "head_lr", "timeline"}
        assert hparams["head_lr"].number_value == outcome.trial.settings["head_lr"]

"""The results of an earlier study inform the sampler of a search."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from research.studies.grid import StudySpec, expand
from research.studies.search.propose import Proposer
from research.studies.search.report import describe_tried
from research.studies.search.warm_start import read_earlier_trials
from research.studies.storage.database import local_address
from research.studies.storage.study import Study

SEARCH = StudySpec(
    search={"space": {"lr": "1e-5..1e-3:log", "head": ["linear", "lstm"], "head.lstm_size": "8..64"}, "trials": 1},
    split="validation",
)


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A grid that was compared on test rows: four finished trials, one of which is outside of the space."""
    spec = StudySpec(name="grid", grid={"head": ["linear", {"name": "lstm", "lstm_size": 16}], "lr": [1e-4, 1e-2]})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(dataclasses.asdict(spec)))
    with Study("grid", local_address(tmp_path)) as study:
        study.add(expand(spec))
        while (claim := study.claim("a worker")) is not None:
            accuracy = claim.trial.settings["lr"]
            study.finish(claim, 0.1, {"validation": {"accuracy": accuracy}, "test": {"accuracy": 0.1}}, seconds=1)
    return tmp_path


def test_trials_in_the_space_are_added_once_with_their_validation_metric(grid: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(
        SEARCH,
        search={
            **SEARCH.search,
            "space": {**SEARCH.search["space"], "head": ["linear", {"name": "lstm", "lstm_size": 16}]},
        },
    )
    proposer = Proposer(spec)
    earlier = read_earlier_trials(str(grid), spec, proposer)
    assert [(trial.params["head"], trial.params["lr"], trial.value) for trial in earlier.trials] == [
        ("linear", 1e-4, 1e-4),
        ('{"name": "lstm", "lstm_size": 16}', 1e-4, 1e-4),
    ]
    assert earlier.num_outside == 2
    assert earlier.different == []
    assert "other values" not in earlier.describe()
    longer = dataclasses.replace(spec, base={"epochs": 2, "max_length": 64})
    assert "other values of these settings: max_length, epochs." in (
        read_earlier_trials(str(grid), longer, Proposer(longer)).describe()
    )
    address = f"sqlite:///{tmp_path}/search.db"
    with Study("search", address) as study:
        for _ in range(2):
            study.add_earlier(earlier.trials)
        assert len(study._study.get_trials()) == 2
        assert study.entries() == {}
        assert "2 trials of earlier studies informed the sampler" in describe_tried(study, proposer.search)
        # They do not count as trials of the search.
        assert study.ask(proposer, "a worker") is not None
        assert study.ask(proposer, "a worker") is None


def test_directory_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"study\.yaml"):
        read_earlier_trials(str(tmp_path), SEARCH, Proposer(SEARCH))

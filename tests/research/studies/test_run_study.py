"""A study is checked while it is planned, before any trial runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from research.records.results import config_as_yaml
from research.runner.resolve import resolve
from research.settings.config import RunConfig
from research.studies.grid import StudySpec, expand
from research.studies.run_study import check_data, check_fork_settings


def test_fork_with_a_different_seed_or_batch_size_is_refused_while_planning(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config_as_yaml(resolve(RunConfig(seed=1, head="cnn", mixed_precision="no"))))
    base = {"fork": str(tmp_path), "head": "cnn", "seed": 1}
    check_fork_settings(expand(StudySpec(base=base, grid={"lr": [1e-5, 3e-5]})))  # raises no error
    with pytest.raises(ValueError, match=r"\bseed\b.*1.*2"):
        check_fork_settings(expand(StudySpec(base=base, grid={"seed": [1, 2]})))
    with pytest.raises(ValueError, match="batch_size"):
        check_fork_settings(expand(StudySpec(base=base, grid={"batch_size": [8, 16]})))


@pytest.mark.parametrize("metric", [None, "accuracy"])
def test_study_on_an_unlabelled_test_split_is_refused_before_training(
    unlabelled_spec: StudySpec, metric: str | None
) -> None:
    spec = dataclasses.replace(unlabelled_spec, metric=metric)
    check_data(spec, expand(spec))  # the validation rows have labels
    with pytest.raises(ValueError, match=r"test rows.*--split validation"):
        check_data(dataclasses.replace(spec, split="test"), expand(spec))


def test_sampling_that_the_labels_do_not_allow_is_refused_before_training(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text(
            "text,label\n" + "".join(f"review {row},{row / 7}\n" for row in range(40))
        )
    spec = StudySpec(base={"data": str(tmp_path), "task": "regression"}, split="test")
    check_data(spec, expand(spec))
    varied = dataclasses.replace(spec, grid={"sampling": ["natural", "balanced"]})
    with pytest.raises(ValueError, match="--sampling balanced needs exactly one label per row"):
        check_data(varied, expand(varied))


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.usefixtures("use_session_cache")
def test_more_folds_than_rows_are_refused_before_training(
    tiny_reviews: Path, split: Literal["test", "validation"]
) -> None:
    spec = StudySpec(base={"data": str(tiny_reviews), "folds": 47}, split=split)
    check_data(spec, expand(spec))
    spec = dataclasses.replace(spec, base={**spec.base, "folds": 48})
    with pytest.raises(ValueError, match=r"47 training rows.*48 folds"):
        check_data(spec, expand(spec))

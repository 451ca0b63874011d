"""The names of accelerate's trackers are read without importing accelerate, and checked."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from heads.registry import UnknownNameError
from research.records.tracker_names import check_tracker_names, raise_missing_package, read_tracker_names


def test_tracker_names_are_read_from_the_source_of_accelerate() -> None:
    assert read_tracker_names() == list(LOGGER_TYPE_TO_CLASS)


def test_tracker_names_are_empty_if_accelerate_has_no_dict_literal_of_trackers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "__init__.py").touch()
    (tmp_path / "accelerate" / "tracking.py").write_text("OTHER_NAMES = {'wandb': 1}\nLOGGER_TYPE_TO_CLASS = dict()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "accelerate"]:
        monkeypatch.delitem(sys.modules, name)
    assert read_tracker_names() == []


def test_unknown_tracker_is_refused_with_a_suggestion() -> None:
    check_tracker_names(["tensorboard"], ["tensorboard", "wandb"])
    with pytest.raises(UnknownNameError, match=r"'wandbb'.*'wandb'.*tensorboard, wandb"):
        check_tracker_names(["tensorboard", "wandbb"], ["wandb", "tensorboard"])


def test_tracker_without_package_is_refused_with_the_install_command() -> None:
    assert importlib.util.find_spec("no_such_tracker") is None
    with pytest.raises(ValueError, match=r"'no_such_tracker'.*pip install no-such-tracker"):
        check_tracker_names(["no_such_tracker"], ["no_such_tracker"])
    with pytest.raises(ValueError, match=r"'comet_ml'.*pip install comet-ml"):
        raise_missing_package("comet_ml")

"""From what the user wrote to settings with every option filled in."""

from __future__ import annotations

import pytest

from heads.registry import UnknownNameError
from research import RunConfig
from research.runner.resolve import check_compiler, defaults_beside, resolve
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def test_options_that_were_not_given_are_filled_in() -> None:
    written = RunConfig(
        head={"name": "lstm", "lstm_size": "9"},
        hook=["ema"],
        objective="focal",
        mixed_precision="no",
        batch_size=8,
        micro_batch_size=64,
    )
    found = resolve(written)
    assert isinstance(found.head, dict)
    assert found.head["lstm_size"] == 9
    assert found.head.keys() > {"name", "lstm_size"}
    assert found.hook == [{"name": "ema", "decay": 0.99}]
    assert isinstance(found.objective, dict)
    assert found.objective["gamma"] == 2.0
    assert found.micro_batch_size == 8
    assert resolve(found) == found


def test_objective_that_was_not_chosen_is_left_to_the_labels() -> None:
    assert resolve(RunConfig(mixed_precision="no")).objective is None
    for task, objective in ((SingleLabel(("a", "b"), (1, 1), 2), "cross_entropy"), (Regression(("score",)), "mse")):
        found = defaults_beside(RunConfig(head="lstm", mixed_precision="no", lr=0.5), task)["objective"]
        assert (found["name"] if isinstance(found, dict) else found) == objective


def test_defaults_are_those_of_no_settings_but_the_precision() -> None:
    found = defaults_beside(RunConfig(lr=0.5, mixed_precision="bf16"), SingleLabel(("a", "b"), (1, 1), 2))
    assert (found["lr"], found["mixed_precision"]) == (RunConfig().lr, "bf16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "ltsm"}, r"'ltsm'.*'lstm'"),
        ({"hook": [{"name": "ema", "dekay": 0.5}]}, r"'dekay'.*'decay'"),
        ({"head": {"name": "lstm", "lstm_size": "big"}}, r"lstm_size.*'big'"),
        ({"warmup": "soon"}, r"--warmup: .*'soon'"),
        ({"timeline": [{"at": "1st", "frezze": "head"}]}, r"timeline entry 1: .*'frezze'.*'freeze'"),
        ({"log_with": ["tensorbord"]}, r"'tensorbord'.*'tensorboard'"),
    ],
)
def test_wrong_settings_are_refused_before_data_are_read(settings: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=message):
        resolve(RunConfig(data="nowhere", mixed_precision="no", **settings))  # type: ignore[arg-type]


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(compile=True, compile_backend="eager")
    check_compiler(config)
    with pytest.raises(ValueError, match=r"'fgm' .*--compile"):
        check_compiler(RunConfig(compile=True, compile_backend="eager", hook=["fgm"]))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_compiler(config)
    with pytest.raises(ValueError, match=r"no-such-compiler.*--compile"):
        check_compiler(RunConfig(compile=True))

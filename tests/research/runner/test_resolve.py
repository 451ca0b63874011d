"""Settings are completed with the defaults of all options."""

from __future__ import annotations

import pytest

from research import RunConfig
from research.runner.resolve import check_compiler, default_settings_for, resolve
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel

SINGLE_LABEL = SingleLabel(label_names=("a", "b"), label_counts=(1, 1), num_train=2)


def test_resolve_fills_in_missing_options() -> None:
    config = RunConfig(
        head={"name": "lstm", "lstm_size": "9"},
        hook=["ema"],
        objective="focal",
        mixed_precision="no",
        batch_size=8,
        micro_batch_size=64,
    )
    resolved = resolve(config)
    assert isinstance(resolved.head, dict)
    assert resolved.head["lstm_size"] == 9
    assert resolved.head.keys() > {"name", "lstm_size"}
    assert resolved.hook == [{"name": "ema", "decay": 0.99}]
    assert isinstance(resolved.objective, dict)
    assert resolved.objective["gamma"] == 2.0
    assert resolved.micro_batch_size == 8  # a micro-batch is at most a global batch
    assert resolve(resolved) == resolved


def test_resolve_leaves_the_default_objective_to_the_task() -> None:
    assert resolve(RunConfig(mixed_precision="no")).objective is None
    for task, objective in ((SINGLE_LABEL, "cross_entropy"), (Regression(label_names=("score",)), "mse")):
        default = default_settings_for(RunConfig(head="lstm", mixed_precision="no", lr=0.5), task)["objective"]
        assert (default["name"] if isinstance(default, dict) else default) == objective


def test_default_settings_keep_only_the_precision_of_the_run() -> None:
    defaults = default_settings_for(RunConfig(lr=0.5, mixed_precision="bf16"), SINGLE_LABEL)
    assert (defaults["lr"], defaults["mixed_precision"]) == (RunConfig().lr, "bf16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "ltsm"}, r"'ltsm'.*'lstm'"),
        ({"hook": [{"name": "ema", "dekay": 0.5}]}, r"'dekay'.*'decay'"),
        ({"head": {"name": "lstm", "lstm_size": "big"}}, r"lstm_size.*'big'"),
        ({"warmup": "soon"}, r"--warmup: .*'soon'"),
        ({"timeline": [{"at": "5st", "frezze": "head"}]}, r"timeline entry 1: .*'frezze'.*'freeze'"),
        ({"log_with": ["tensorbord"]}, r"'tensorbord'.*'tensorboard'"),
    ],
)
def test_resolve_rejects_invalid_settings_before_reading_data(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(RunConfig(data="nowhere", mixed_precision="no", **settings))  # type: ignore[arg-type]


def test_check_compiler_rejects_a_missing_compiler_and_incompatible_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(compile=True, compile_backend="eager")
    check_compiler(config)  # raises no error
    with pytest.raises(ValueError, match=r"'fgm' .*--compile"):
        check_compiler(RunConfig(compile=True, compile_backend="eager", hook=["fgm"]))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_compiler(config)  # raises no error: the backend "eager" needs no C++ compiler
    with pytest.raises(ValueError, match=r"no-such-compiler.*--compile"):
        check_compiler(RunConfig(compile=True))


@pytest.mark.parametrize("hook", ["fgm", "length_warmup"])
def test_hooks_that_need_whole_rows_are_refused(hook: str) -> None:
    with pytest.raises(ValueError, match=rf"'{hook}'.*--long_texts"):
        resolve(RunConfig(long_texts="windows", hook=[hook], log_with=[]))

"""Flags in messages become Python arguments."""

import json
from pathlib import Path

import pytest

from research import PredictSettings
from research.inference.parts import check_output_is_new
from research.settings.flags import setting_types
from research.settings.python_arguments import name_arguments_in, naming_arguments
from research.system.messages import logger
from tests.messages import collect_messages


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("or replace it with --overwrite.", "or replace it with overwrite=True."),
        ("continue the run with --resume auto, or", 'continue the run with resume="auto", or'),
        ("Choose another --name or --output_dir.", "Choose another name or output_dir."),
        ("with --output_dir runs/a and --resume auto.", 'with output_dir="runs/a" and resume="auto".'),
        ("--overwrite deletes --init_from runs/a.", 'overwrite=True deletes init_from="runs/a".'),
        ("Lower --micro_batch_size (now 8; the result", "Lower micro_batch_size (now 8; the result"),
        ("or --max_length (now 128), or", "or max_length (now 128), or"),
        ("--max_length 128, got", "max_length=128, got"),
        ("set --lr 1e-4 or --lr=0.5.", "set lr=0.0001 or lr=0.5."),
        ("lower --lr, or pass --on_nonfinite skip.", 'lower lr, or pass on_nonfinite="skip".'),
        ("--allow_padding_sensitive true to train anyway", "allow_padding_sensitive=True to train anyway"),
        ("omit --cache_features false.", "omit cache_features=False."),
        ("--compile needs a C++ compiler", "compile=True needs a C++ compiler"),
        ("--peft keeps them frozen; --peft lora", 'peft keeps them frozen; peft="lora"'),
        ("--fork runs/a: no checkpoint", 'fork="runs/a": no checkpoint'),
        ("for --fork, RUN or RUN@step-N.", "for fork, RUN or RUN@step-N."),
        ("--freeze encoder.layer[:2],name:head.x, or", 'freeze=["encoder.layer[:2]", "name:head.x"], or'),
        ("--data './my data'.", 'data="./my data".'),
        ("--timeline {at: 12st, unfreeze: encoder}.", 'timeline=[{"at": "12st", "unfreeze": "encoder"}].'),
        ("--max_steps null", "max_steps=None"),
        ("--head.lstm_size 128.", 'head={"name": ..., "lstm_size": 128}.'),
        ("--head.lstm_size is not", 'head={"name": ..., "lstm_size": ...} is not'),
        ("--hook.ema.decay needs --hook ema.", 'hook=[{"name": "ema", "decay": ...}] needs hook=["ema"].'),
        ("(see --list encoders) or --dry_run", "(see --list encoders) or --dry_run"),
        ("or set --task multi_label to use", 'or set task="multi_label" to use'),
        ("Set --text_column, and --text_pair_column if rows", "Set text_column, and text_pair_column if rows"),
        ("set --label_separator ','.", 'set label_separator=",".'),
        ("accelerate launch --num_processes 2", "accelerate launch --num_processes 2"),
    ],
)  # fmt: skip
def test_name_arguments_in_replaces_flags_of_settings(message: str, expected: str) -> None:
    assert name_arguments_in(message, setting_types()) == expected


def test_decorated_functions_name_arguments_in_messages() -> None:
    with collect_messages() as messages:
        naming_arguments(PredictSettings)(logger.info)("Reading --data x.csv for --keep_columns a,b.")
    assert messages == ['Reading data="x.csv" for keep_columns=["a", "b"].']


def test_decorated_functions_name_arguments_in_errors_without_a_traceback(tmp_path: Path) -> None:
    check = naming_arguments(PredictSettings)(check_output_is_new)
    with pytest.raises(ValueError, match=r"Choose another output, or replace it with overwrite=True\.$") as raised:
        check(tmp_path, overwrite=False)
    assert raised.value._render_traceback_() == [f"ValueError: {raised.value}"]  # type: ignore[attr-defined]


def test_decorated_functions_leave_errors_that_are_not_for_the_user() -> None:
    @naming_arguments()
    def fail() -> None:
        json.loads("--overwrite")

    with pytest.raises(json.JSONDecodeError) as raised:
        fail()
    assert raised.value.args == ("Expecting value: line 1 column 1 (char 0)",)
    assert not hasattr(raised.value, "_render_traceback_")

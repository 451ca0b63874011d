"""Names, options and option values are checked against the source code of the built-in heads, hooks and so on."""

from __future__ import annotations

from typing import Any

import pytest

from heads.registry import UnknownNameError
from research import RunConfig
from research.runner.first_checks.choices import check_choice, check_choices
from research.settings.config import Choice


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"head": "ltsm"}, "head 'ltsm'.*'lstm'"),
        ({"head": {"name": "lstm", "lstm_sise": 8}}, "'lstm_sise'.*'lstm_size'.*head 'lstm'"),
        ({"schedule": {"name": "linear", "num_warmup_steps": 8}}, "'num_warmup_steps'.*schedule 'linear'"),
        ({"hook": ["ema", "fgn"]}, "hook 'fgn'.*'fgm'"),
        ({"objective": "focl"}, "objective 'focl'.*'focal'"),
        ({"peft": "lorra"}, "peft 'lorra'.*'lora'"),
        ({"cleaning": ["lowercas"]}, "cleaning step 'lowercas'.*'lowercase'"),
        ({"task": "regresion"}, "task 'regresion'.*'regression'"),
    ],
)
def test_check_choices_names_the_setting_and_suggests_similar_names(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(UnknownNameError, match=expected):
        check_choices(RunConfig(**settings))


def test_check_choices_rejects_an_invalid_value_of_an_option() -> None:
    with pytest.raises(ValueError, match=r"hook 'ema': .*decay.*\b2"):
        check_choices(RunConfig(hook=[{"name": "ema", "decay": 2.0}]))
    with pytest.raises(ValueError, match=r"lstm_size.*'big'"):
        check_choices(RunConfig(head={"name": "lstm", "lstm_size": "big"}))
    check_choices(RunConfig(head={"name": "lstm", "lstm_size": "8"}, hook=[{"name": "ema", "decay": 0.5}]))


def test_plugins_allow_unknown_names_but_no_unknown_options_of_built_in_heads() -> None:
    check_choices(RunConfig(head="mine", task="mine", hook=["mine"], plugin=["mine.py"]))
    with pytest.raises(UnknownNameError, match="'lstm_sise'"):
        check_choices(RunConfig(head={"name": "lstm", "lstm_sise": 8}, plugin=["mine.py"]))
    early_stopping = Choice("early_stopping", {"metric": "plugin_metric"})
    # A task that a plugin registers may have this metric.
    check_choice(listing="hooks", kind="hook", choice=early_stopping, allow_unregistered=True)
    with pytest.raises(UnknownNameError, match="'plugin_metric'"):
        check_choice(listing="hooks", kind="hook", choice=early_stopping, allow_unregistered=False)

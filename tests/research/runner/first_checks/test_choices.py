"""Names, options and their values are checked by the source of what is registered."""

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
        ({"head": {"name": "lstm", "lstm_sise": 8}}, "head 'lstm' 'lstm_sise'.*'lstm_size'"),
        ({"schedule": {"name": "linear", "num_warmup_steps": 8}}, "schedule 'linear' 'num_warmup_steps'"),
        ({"hook": ["ema", "fgn"]}, "hook 'fgn'.*'fgm'"),
        ({"objective": "focl"}, "objective 'focl'.*'focal'"),
        ({"peft": "lorra"}, "peft 'lorra'.*'lora'"),
        ({"cleaning": ["lowercas"]}, "cleaning step 'lowercas'.*'lowercase'"),
        ({"task": "regresion"}, "task 'regresion'.*'regression'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(UnknownNameError, match=expected):
        check_choices(RunConfig(**settings))


def test_values_are_refused_with_their_owner() -> None:
    with pytest.raises(ValueError, match=r"hook 'ema': .*decay.*\b2"):
        check_choices(RunConfig(hook=[{"name": "ema", "decay": 2.0}]))
    with pytest.raises(ValueError, match=r"lstm_size.*'big'"):
        check_choices(RunConfig(head={"name": "lstm", "lstm_size": "big"}))
    check_choices(RunConfig(head={"name": "lstm", "lstm_size": "8"}, hook=[{"name": "ema", "decay": 0.5}]))


def test_plugins_may_register_other_names_but_no_other_options() -> None:
    check_choices(RunConfig(head="mine", task="mine", hook=["mine"], plugin=["mine.py"]))
    with pytest.raises(UnknownNameError, match="'lstm_sise'"):
        check_choices(RunConfig(head={"name": "lstm", "lstm_sise": 8}, plugin=["mine.py"]))
    stopping = Choice("early_stopping", {"metric": "of_mine"})
    check_choice("hooks", "hook", stopping, may_have_others=True)  # a metric of a plugin's kind of labels
    with pytest.raises(UnknownNameError, match="'of_mine'"):
        check_choice("hooks", "hook", stopping, may_have_others=False)

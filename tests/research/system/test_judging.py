"""A trial asks the study that started it whether it goes on."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Client

import pytest

from research.system.judging import JUDGE_VARIABLE, find_judge, serving_judge


def never(percent: int, metrics: Mapping[str, float]) -> str | None:
    return None


def test_without_a_study_there_is_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JUDGE_VARIABLE, raising=False)
    assert find_judge() is None


def test_questions_are_answered_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = []

    def judge(percent: int, metrics: Mapping[str, float]) -> str | None:
        questions.append((percent, dict(metrics)))
        return "The pruner" if percent == 50 else None

    with serving_judge(judge) as address:
        monkeypatch.setenv(JUDGE_VARIABLE, address)
        ask = find_judge()
        assert ask is not None
        assert [ask(percent, {"accuracy": percent / 100}) for percent in (10, 20, 50)] == [None, None, "The pruner"]
        assert ask(60, {"accuracy": math.nan}) is None
    assert questions[:3] == [(percent, {"accuracy": percent / 100}) for percent in (10, 20, 50)]
    assert math.isnan(questions[3][1]["accuracy"])
    # Once the study has ended, the trial goes on.
    assert ask(70, {"accuracy": 0.5}) is None


CONNECT_AND_DIE = """
import os, sys
from multiprocessing.connection import Client
connection = Client(sys.argv[1])
os.kill(os.getpid(), 9)
"""


def test_killed_trial_does_not_block_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_judge(lambda percent, metrics: "stop") as address:
        killed = subprocess.run([sys.executable, "-c", CONNECT_AND_DIE, address], check=False)
        assert killed.returncode == -signal.SIGKILL
        # A trial that does not wait for the answer.
        with Client(address) as connection:
            connection.send_bytes(b"[10, {}]")
        monkeypatch.setenv(JUDGE_VARIABLE, address)
        ask = find_judge()
        assert ask is not None
        assert ask(10, {}) == "stop"


def test_error_of_the_judge_is_raised_at_the_end_and_the_trial_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(percent: int, metrics: Mapping[str, float]) -> str | None:
        raise ValueError("no connection")

    answers = []

    def serve() -> None:
        with serving_judge(judge) as address:
            monkeypatch.setenv(JUDGE_VARIABLE, address)
            ask = find_judge()
            assert ask is not None
            answers.extend([ask(10, {}), ask(20, {})])

    with pytest.raises(ValueError, match="no connection"):
        serve()
    assert answers == [None, None]


def test_error_of_the_judge_does_not_hide_the_error_of_the_trial() -> None:
    with pytest.raises(KeyError), serving_judge(never):
        raise KeyError

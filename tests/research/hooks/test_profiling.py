"""With --profile, some steps are traced for TensorBoard or Perfetto."""

from __future__ import annotations

import json

import pytest

from research.training.loop import train
from tests.research.conftest import StartRun


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # torch 2.10
def test_profiling_traces_steps_3_to_5(start_run: StartRun) -> None:
    run = start_run(profile=True, max_steps=6)
    train(run)
    (trace,) = (run.directory / "profile").iterdir()
    assert trace.name.startswith("process-0.")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    # The profiler numbers steps from 0.
    assert {f"ProfilerStep#{step}" for step in (2, 3, 4)} <= names
    assert not {f"ProfilerStep#{step}" for step in (0, 1, 5)} & names

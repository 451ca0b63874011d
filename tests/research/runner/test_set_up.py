"""Setting up a run does not repeat expensive work."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer

from research.model.encoder_with_head import EncoderWithHead
from research.settings import options
from research.settings.options import convert_options
from tests.research.conftest import StartRun


def test_set_up_builds_the_model_once_and_a_copy_on_the_meta_device_once(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    build = EncoderWithHead.__init__

    def record(self: EncoderWithHead, *arguments: Any, **settings: Any) -> None:
        build(self, *arguments, **settings)
        devices.append(self.device.type)

    monkeypatch.setattr(EncoderWithHead, "__init__", record)
    start_run(hook=[{"name": "gradual_unfreezing", "over": "2st"}], timeline=[{"at": "3st", "scale_lr": 0.5}])
    assert sorted(devices) == ["cpu", "meta"]


def test_set_up_loads_the_tokenizer_once(start_run: StartRun, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = AutoTokenizer.from_pretrained

    def record(folder: Any, **settings: Any) -> Any:
        loaded.append(str(folder))
        return load(folder, **settings)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", record)
    start_run()
    assert len(loaded) == 1


def test_set_up_reads_the_options_of_each_choice_only_twice(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: list[str] = []

    def record(owner: str, *arguments: Any, **settings: Any) -> dict[str, Any]:
        owners.append(owner)
        return convert_options(owner, *arguments, **settings)

    monkeypatch.setattr(options, "convert_options", record)
    start_run(head={"name": "lstm", "lstm_size": 8}, objective={"name": "focal", "gamma": 1.0})
    # The options of a choice are read once for config.yaml, as plain values, and once to create the object.
    assert {owner: owners.count(owner) for owner in owners} == dict.fromkeys(
        ("head 'lstm'", "objective 'focal'", "optimizer 'adamw'", "schedule 'one_cycle'"), 2
    )

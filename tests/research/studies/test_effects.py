"""A study that varies a setting without effect is refused."""

from __future__ import annotations

from typing import Any

import pytest

from research.settings.config import RunConfig
from research.studies.effects import check_effects


def configs(**settings: Any) -> list[RunConfig]:
    return [RunConfig(lr=lr, **settings) for lr in (1e-5, 1e-4)]


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze": ["encoder.embeddings"]},
        {"freeze": ["encoder"], "head_lr": None},
        {"freeze": ["encoder"], "timeline": [{"at": "50%", "unfreeze": "encoder"}]},
        {"freeze": ["encoder"], "hook": ["gradual_unfreezing"]},
        {"freeze": ["encoder"], "peft": "lora"},
    ],
)
def test_rate_of_the_encoder_can_be_varied_if_something_trains_with_it(settings: dict[str, Any]) -> None:
    check_effects(configs(**settings))


def test_rate_of_a_frozen_encoder_cannot_be_varied() -> None:
    with pytest.raises(ValueError, match=r"varies lr, .*head_lr instead"):
        check_effects(configs(freeze=["encoder"]))
    check_effects([*configs(freeze=["encoder"]), *configs()])  # some trials train the encoder
    with pytest.raises(ValueError, match="layer_decay"):
        check_effects([RunConfig(freeze=["encoder"], layer_decay=decay) for decay in (0.8, 0.9)])

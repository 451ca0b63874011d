"""Models with random weights, as load_model returns them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from research import RunConfig
from research.inference.saved_model import SavedModel
from research.model.build_model import build_model
from research.model.encoders import load_tokenizer
from research.model.input_settings import InputSettings
from research.tasks.base import TASKS

BuildModel = Callable[..., SavedModel]


@pytest.fixture
def build_saved_model(tiny_encoder: Path) -> BuildModel:
    """Return a function that builds a model with the tiny encoder."""

    def build(
        *,
        head: str = "mean",
        task: str = "single_label",
        labels: tuple[str, ...] = ("negative", "positive"),
        pair: bool = False,
        max_length: int = 12,
        truncation: str = "head_tail",
        template: str | None = None,
        **settings: Any,
    ) -> SavedModel:
        settings["template"] = template
        settings |= {"encoder": str(tiny_encoder), "head": head, "max_length": max_length, "truncation": truncation}
        config = RunConfig(**settings)
        task_with_labels = TASKS[task](label_names=labels)
        torch.manual_seed(0)
        model = build_model(config, task_with_labels).eval()
        inputs = InputSettings(task, ("first", "second") if pair else ("text",), template=template)
        return SavedModel(tiny_encoder, None, model, load_tokenizer(str(tiny_encoder)), task_with_labels, inputs)

    return build

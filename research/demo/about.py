"""What a page says about its model."""

from __future__ import annotations

import math
from typing import Any

import yaml

from research.inference.saved_model import SavedModel
from research.settings.run_files import CONFIG
from research.system.paths import without_folders
from research.system.plain_text import for_message


def model_name(saved: SavedModel) -> str:
    """Return the name of the model: that of its run directory or, if it is not in one, of its folder."""
    return (saved.run or saved.folder).resolve().name


def describe_model(saved: SavedModel) -> list[tuple[str, str]]:
    """Return facts about a model, each with its name.

    The data are known only in a run directory, and the test metric only of the model that the run tested.
    """
    assert saved.model.config.encoder is not None
    facts = [("head", saved.model.config.head), ("encoder", saved.model.config.encoder.model_type)]
    template = [] if saved.template is None else [("template", for_message(saved.template, 200))]
    if saved.run is None:
        return facts + template
    settings: dict[str, Any] = yaml.safe_load((saved.run / CONFIG).read_text(encoding="utf-8"))
    facts[1] = ("encoder", without_folders(settings["encoder"]))
    facts.append(("data", without_folders(settings["data"])))
    metric = saved.task.metrics[0].name
    value = saved.metrics.get("test", {}).get(metric, math.nan)
    if not math.isnan(value):
        facts.append((f"test {metric.replace('_', ' ')}", f"{value:.4f}"))
    return facts + template

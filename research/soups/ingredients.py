"""The models of a soup: find them, and check that their weights may be averaged.

This does not import torch, so that wrong paths and models that do not fit are reported at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from research.model.saved_models import find_run, find_trained_model
from research.settings.config import Choice
from research.settings.forks import read_settings
from research.settings.run_files import CHECKPOINTS, CONFIG, JOURNAL, MODEL, RESULT
from research.system.errors import one_line
from research.system.manifest import find_damage
from research.system.paths import expand_path

WEIGHTS = "model.safetensors"
"""File with the weights, in the folder of a model and in a checkpoint."""
_HARMLESS_EDITS = ("freeze", "unfreeze", "set_lr", "scale_lr", "set_weight_decay", "set_dropout", "set_optimizer")
"""Edits after which the same weights still give the same predictions. A checkpoint that precedes other edits belongs to
a model that differs from the run's final one."""


@dataclass(frozen=True)
class Ingredient:
    """A trained model whose weights may become part of a soup."""

    name: str
    """The model, as the user named it."""
    run: Path
    """Its run directory."""
    folder: Path
    """The folder with its weights: of a saved model, or of a checkpoint."""
    model: Path
    """The folder of a saved model of the run with the same config."""
    settings: Mapping[str, Any]
    """Settings of the run."""
    config: Mapping[str, Any]
    """Content of the model's config.json."""
    rows_sha256: str
    """Hash of the rows that the run trained on and was evaluated on."""

    @property
    def is_checkpoint(self) -> bool:
        """Whether the weights are those of a checkpoint."""
        return self.folder != self.model

    def optimizer(self) -> str:
        """Return the name of the optimizer that trained the weights last, according to settings and journal."""
        choice = self.settings["optimizer"]
        if self.is_checkpoint:
            step = int(self.folder.name.removeprefix("step-"))
            for record in read_journal(self.run):
                if record["name"] == "set_optimizer" and record["skipped"] is None and record["step"] < step:
                    choice = record["arguments"]["optimizer"]
        return Choice.of(choice, "optimizer").name

    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of each saved tensor by its name, without reading the tensors.

        Raises:
            ValueError: if the file is damaged.
        """
        try:
            with safe_open(self.folder / WEIGHTS, framework="np") as file:
                return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ValueError(f"Cannot read {self.folder / WEIGHTS}: {one_line(error)}.") from None


def find_ingredient(name: str) -> Ingredient:
    """Return the model that a user names.

    Args:
        name: a run directory, its model/ or best/ folder, or a checkpoint (`runs/a@step-400` or `runs/a@400`).
    Raises:
        ValueError: if there is no such model, it is not in the directory of a finished run, or the model of a
            checkpoint differs from the run's final one.
    """
    path, _, step = name.rpartition("@")
    match = re.fullmatch(r"(?:step-)?(\d+)", step)
    run = expand_path(path) if path and match else None
    if run is not None:
        _refuse_other_folder(run, name)
        model = find_trained_model(run / MODEL)
    else:
        model = find_trained_model(expand_path(name))
        run = find_run(model)
    if run is None:
        raise ValueError(
            f"{name} is not in a run directory, so its encoder and its rows are unknown. Expected runs of run.py."
        )
    result = _read_json(run / RESULT) if (run / RESULT).is_file() else {}
    if result.get("status") != "finished":
        raise ValueError(f"The run in {run} is not finished. Continue it with --resume auto.")
    settings = read_settings(run / CONFIG, "the run")
    config = _read_json(model / "config.json")
    folder = model if match is None or not path else _find_checkpoint(run, int(match[1]), name)
    return Ingredient(name, run, folder, model, settings, config, str(result["rows_sha256"]))


def _refuse_other_folder(run: Path, name: str) -> None:
    if not (run / CONFIG).is_file():
        raise ValueError(f"{name}: {run} is not a run directory (it has no {CONFIG}).")


def _find_checkpoint(run: Path, step: int, name: str) -> Path:
    """Return a checkpoint, after checking that its model is the run's final one, with other weights."""
    checkpoint = run / CHECKPOINTS / f"step-{step:08d}"
    if not checkpoint.is_dir():
        steps = sorted(int(each.name.removeprefix("step-")) for each in (run / CHECKPOINTS).glob("step-*"))
        listed = ", ".join(map(str, steps)) or "none; train with --save_every and --keep"
        raise ValueError(f"{name}: no checkpoint of step {step}. Steps with a checkpoint: {listed}.")
    damage = find_damage(checkpoint)
    if damage is not None:
        raise ValueError(f"{name} cannot be used: {damage}.")
    for record in read_journal(run):
        if record["step"] >= step and record["skipped"] is None and record["name"] not in _HARMLESS_EDITS:
            raise ValueError(
                f"{name} cannot be averaged: the edit {record['name']} changed the model after step {record['step']}. "
                "Choose later checkpoints."
            )
    return checkpoint


def read_journal(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run's edits, in order."""
    lines = (run / JOURNAL).read_text(encoding="utf-8").splitlines() if (run / JOURNAL).exists() else []
    return [json.loads(line) for line in lines]


def check_fit(ingredients: Sequence[Ingredient]) -> None:
    """Check that the weights of models may be averaged: same architecture, encoder, labels, inputs and rows.

    Raises:
        ValueError: for the first model that does not fit the first one; names what differs.
    """
    first, *others = ingredients
    if first.config.get("adapters") is not None:
        raise ValueError(
            f"{first.name} has adapters, whose average is not the adapters of an average. Train it with "
            '--timeline "{at: 100%, merge_adapters: true}", and name the model/ of that run.'
        )
    expected = {**_properties(first), "shapes of the weights": first.shapes()}
    for other in others:
        for what, value in {**_properties(other), "shapes of the weights": other.shapes()}.items():
            if value == expected[what]:
                continue
            details = "" if isinstance(value, dict) else f": {value!r} instead of {expected[what]!r}"
            raise ValueError(
                f"{other.name} does not fit {first.name}: its {what} differ{'' if what.endswith('s') else 's'}"
                f"{details}. Models in a soup must have started from the same encoder, on the same rows."
            )


def _properties(ingredient: Ingredient) -> dict[str, Any]:
    """Return what all models of a soup must have in common, by a description for messages."""
    config, settings = ingredient.config, ingredient.settings
    return {
        "encoder": settings["encoder"],
        "initial model (--init_from)": settings["init_from"],
        "head": config["head"],
        "head options": _without_dropout(config["head_options"]),
        "labels": config["id2label"],
        "inputs": config["inputs"],
        "maximum length": config["max_input_length"],
        "truncation": config["truncation"],
        "windows": config.get("windows"),
        "adapters": config["adapters"],
        "rows": ingredient.rows_sha256,
    }


def _without_dropout(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a head's options without dropout probabilities, which have no effect after training."""
    return {name: value for name, value in options.items() if "dropout" not in name}


def seeds_of_heads(ingredients: Sequence[Ingredient]) -> list[int]:
    """Return the seeds from which the heads were initialised; empty if all started from one saved model."""
    if ingredients[0].settings["init_from"] is not None:
        return []
    return sorted({int(ingredient.settings["seed"]) for ingredient in ingredients})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path}: {one_line(error)}.") from None
    return content

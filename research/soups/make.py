"""Make a soup, evaluate it, and write it into a folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from heads.registry import UnknownNameError, describe_unknown
from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import Splits, load_splits
from research.hooks.averaged_weights import averaging_hooks
from research.inference.saved_model import SavedModel, load_model
from research.inference.scorer import Scorer
from research.learning.metrics import compute_metrics
from research.learning.optimizers.base import OPTIMIZERS, OptimizerKind
from research.learning.predictions import Predictions
from research.model.encoder_with_head import EncoderWithHead
from research.records.predictions_file import predictions_path, predictions_size, write_predictions
from research.records.results import git_commit, versions, weights_sha256
from research.settings.config import RunConfig
from research.settings.run_files import MODEL
from research.soups.folder import SOUP_RECORD
from research.soups.ingredients import Ingredient, seeds_of_heads
from research.soups.recipe import Soup, Weights, make_soup
from research.system import durable
from research.system.json_values import as_json
from research.system.messages import logger
from research.system.terminal import Terminal
from research.system.waiting import WaitingMessage, WaitingProgress
from research.tasks.base import Task
from research.training.accelerator import choose_precision
from research.training.checkpoint.state import read_weights_and_label_names
from research.training.model_files import save_model

if TYPE_CHECKING:
    from research.soups.settings import SoupSettings


def make_and_write(settings: SoupSettings, ingredients: Sequence[Ingredient], output: Path) -> dict[str, Any]:
    """Average models, evaluate the average, write everything into a folder, and return the content of soup.json.

    Args:
        settings: the settings of soup.py.
        ingredients: the models, which fit each other.
        output: the folder. An existing one is replaced when everything is on disk.
    Raises:
        ValueError: if the models or their data cannot be used; the message explains what to do.
    """
    disable_progress_bar()  # Transformers' progress bar
    precision = choose_precision(RunConfig(mixed_precision=settings.mixed_precision))
    first = ingredients[0]
    with WaitingMessage("Loading the first model"):
        saved = load_model(first.model, plugin=settings.plugin)
    for ingredient in ingredients:
        _check_has_evaluated_weights(ingredient)
    saved.model.set_temperature(1.0)
    saved.model.config.thresholds = None
    config = RunConfig(**first.settings)
    texts = load_splits(config)
    task = dataclasses.replace(texts.task, thresholds=())
    _check_rows(first, texts, saved, config)
    metric = _choose_metric(settings.metric, task)
    if len(seeds := seeds_of_heads(ingredients)) > 1:
        logger.warning(
            f"The heads of these models started from different random weights (seeds {', '.join(map(str, seeds))}), so "
            "the average may be worse than each model. To avoid this, start all runs from one trained model with "
            "--init_from."
        )
    durable.check_space(output, needed=sum(value.nbytes for value in saved.model.state_dict().values()))
    scorer = Scorer(saved, batch_size=settings.batch_size, precision=precision)
    score = functools.partial(_predict, scorer, texts, task)
    by_name = {ingredient.name: ingredient for ingredient in ingredients}

    def read_weights(name: str) -> Weights:
        with WaitingMessage(f"Loading {name}"):
            return _read_weights(by_name[name], saved.model)

    def evaluate(weights: Weights) -> float:
        saved.model.load_state_dict(weights, strict=True)
        return score("validation").metrics.get(metric, math.nan)

    soup = make_soup(list(by_name), read_weights, evaluate, metric, uniform=settings.uniform)
    saved.model.load_state_dict(soup.weights, strict=True)
    predictions = {split: score(split) for split in ("validation", "test")}
    result = {
        "kind": "uniform" if settings.uniform else "greedy",
        "metric": metric,
        "ingredients": [dataclasses.asdict(item) for item in soup.tried],
        "metrics": {split: each.metrics for split, each in predictions.items() if each.labels is not None},
        "task": task.name,
        "encoder": first.settings["encoder"],
        "rows": {split: len(each.ids) for split, each in predictions.items()},
        "rows_sha256": first.rows_sha256,
        "mixed_precision": precision,
        "weights_sha256": weights_sha256(saved.model),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    _write(output, saved, task, texts, predictions, result)
    Terminal().print(_describe(result, soup, output))
    return result


def _check_rows(first: Ingredient, texts: Splits, saved: SavedModel, config: RunConfig) -> None:
    """Check that the rows are still those on which the runs were trained and evaluated.

    Raises:
        ValueError: if they have changed.
    """
    tokens = tokenize_splits(texts, saved.tokenizer, allow_unknown=config.allow_unknown_tokens)
    if tokens.hash_rows() != first.rows_sha256:
        raise ValueError(
            f"The rows of {config.data} have changed since the run in {first.run}. Restore the data, or train again."
        )


def _choose_metric(name: str | None, task: Task) -> str:
    """Return the metric that decides.

    Raises:
        UnknownNameError: if the task does not have it. (The loss depends on each run's objective.)
    """
    if name is not None and name not in task.metric_names:
        raise UnknownNameError(describe_unknown("metric", name, task.metric_names, listed_as="Metrics"))
    return name or task.metrics[0].name


def _read_weights(ingredient: Ingredient, model: EncoderWithHead) -> Weights:
    """Return the weights of a model, without its temperature, on the device of `model`.

    Args:
        ingredient: the model to read.
        model: a model with the same structure.
    """
    if ingredient.is_checkpoint:
        weights, _ = read_weights_and_label_names(model, ingredient.folder)
    else:
        loaded = EncoderWithHead.from_pretrained(ingredient.folder)
        loaded.set_temperature(1.0)
        weights = loaded.state_dict()
    return {name: value.detach().to(model.device) for name, value in weights.items()}


def _check_has_evaluated_weights(ingredient: Ingredient) -> None:
    """Check that a checkpoint's weights are those that the run evaluates.

    Raises:
        ValueError: if the run evaluates an average instead, which a hook or the optimizer computes.
    """
    if not ingredient.is_checkpoint:
        return
    causes = [f"the hook {name}" for name in averaging_hooks(RunConfig(**ingredient.settings))]
    optimizer = ingredient.optimizer()
    if OPTIMIZERS[optimizer].evaluation_weights is not OptimizerKind.evaluation_weights:
        causes.append(f"the optimizer {optimizer}")
    if causes:
        raise ValueError(
            f"{ingredient.name} cannot be averaged: its weights are those that train, and the run evaluates an average "
            f"of them ({causes[0]}). Name the run, its model/ or its best/ instead of a checkpoint."
        )


def _predict(scorer: Scorer, texts: Splits, task: Task, split: str) -> Predictions:
    """Return the model's predictions for a split; no metrics if its rows have no labels or logits are not finite."""
    rows = getattr(texts, split)
    columns = [rows[name][:] for name in ("text", "text_pair") if name in rows.column_names]
    with WaitingProgress(f"evaluating {split}", len(rows), "row") as progress:
        logits = scorer(list(zip(*columns, strict=True)), after_batch=progress.update)
    ids = rows.data.column("id").to_numpy()
    if split in texts.unlabelled:
        return Predictions(ids, logits, None, math.nan, {})
    labels = task.label_array(rows["label"][:])
    if not np.isfinite(logits).all():
        return Predictions(ids, logits, labels, math.nan, dict.fromkeys(task.metric_names, math.nan))
    return Predictions(ids, logits, labels, math.nan, compute_metrics(task, logits, labels))


def _write(
    output: Path,
    saved: SavedModel,
    task: Task,
    texts: Splits,
    predictions: dict[str, Predictions],
    result: dict[str, Any],
) -> None:
    """Write the model, its predictions and soup.json into a folder, and publish it under its name."""
    temporary = output.with_name(f".{output.name}.writing")
    durable.remove(temporary)
    needed = sum(predictions_size(*each.logits.shape) for each in predictions.values())
    with durable.converting_write_errors(output, needed=needed), durable.deleting_on_failure(temporary):
        temporary.mkdir(parents=True)
        save_model(saved.model.cpu(), saved.tokenizer, temporary / MODEL)
        for split, each in predictions.items():
            write_predictions(predictions_path(temporary, split), task, each, texts.files[split])
        durable.write_text(temporary / SOUP_RECORD, json.dumps(as_json(result), indent=2, allow_nan=False))
        durable.publish(temporary, output)


def _describe(result: dict[str, Any], soup: Soup, output: Path) -> Group:
    """Return the folder, a table of the ingredients, and a table of the soup's metrics."""
    metric = result["metric"]
    ingredients = Table("model", title=f"validation {metric}", title_justify="left")
    for column in ("alone", "average with it", "kept"):
        ingredients.add_column(column, justify="right")
    for item in soup.tried:
        ingredients.add_row(item.name, _format(item.value), _format(item.value_with_it), "yes" if item.kept else "no")
    metrics = Table("metric", title=f"{result['kind']} soup", title_justify="left")
    for split in result["metrics"]:
        metrics.add_column(f"{split} ({result['rows'][split]:,} rows)", justify="right")
    for name in (name for name in result["metrics"]["validation"] if "/" not in name):  # no metrics of one label
        metrics.add_row(name, *(_format(values[name]) for values in result["metrics"].values()))
    return Group(str(output), ingredients, metrics)


def _format(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4f}"

"""Average the weights of several models: greedily or all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from research.tasks.metric_names import higher_is_better, is_better

Weights = Mapping[str, Tensor]
"""Parameters and buffers of a model, by name."""


@dataclass(frozen=True)
class TriedIngredient:
    """One model that a soup was offered."""

    name: str
    """The model, as the user named it."""
    value: float
    """Validation metric of the model alone."""
    value_with_it: float
    """Validation metric of the average that includes the model."""
    kept: bool
    """Whether the model is part of the soup."""


@dataclass(frozen=True)
class Soup:
    """Averaged weights, and how they were found."""

    weights: Weights
    """The average."""
    tried: Sequence[TriedIngredient]
    """All models, in the order in which they were tried: the best one first."""


def make_soup(
    names: Sequence[str],
    read_weights: Callable[[str], Weights],
    evaluate: Callable[[Weights], float],
    metric: str,
    *,
    uniform: bool = False,
) -> Soup:
    """Average the weights of models. Besides the weights of `evaluate`, it keeps those of two models in memory.

    Source: Wortsman et al. 2022, Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time, algorithm 1 (greedy soup) and section 2 (uniform soup).

    Args:
        names: the models.
        read_weights: returns new tensors with the weights of a model.
        evaluate: returns the validation metric of weights; NaN if it is not defined.
        metric: name of that metric.
        uniform: whether to add all models, instead of only those with which the average does not become worse.
    Raises:
        ValueError: if the metric is not defined for any model.
    """
    values = {name: evaluate(read_weights(name)) for name in names}
    defined = [name for name in names if not math.isnan(values[name])]
    if not defined:
        raise ValueError(
            f"The validation metric {metric} is not defined for any of the models. Choose another --metric."
        )
    ordered = sorted(defined, key=values.__getitem__, reverse=higher_is_better(metric))
    ordered += [name for name in names if name not in defined]
    average, num_added, value = read_weights(ordered[0]), 1, values[ordered[0]]
    tried = [TriedIngredient(ordered[0], value, value, kept=True)]
    for name in ordered[1:]:
        candidate = add_to_average(average, read_weights(name), num_added)
        value_with_it = evaluate(candidate)
        kept = uniform or value_with_it == value or is_better(metric, value_with_it, value)
        tried.append(TriedIngredient(name, values[name], value_with_it, kept=kept))
        if kept:
            average, num_added, value = candidate, num_added + 1, value_with_it
    return Soup(average, tried)


def add_to_average(average: Weights, weights: Weights, num_averaged: int) -> Weights:
    """Return the average with one more model. Tensors of integers, such as position ids, are those of the average.

    Args:
        average: average of the weights of `num_averaged` models.
        weights: weights of the model to add.
        num_averaged: number of models in the average.
    """
    return {
        name: torch.lerp(value, weights[name], 1 / (num_averaged + 1)) if value.is_floating_point() else value
        for name, value in average.items()
    }

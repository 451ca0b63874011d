"""The trainable parameters and saved buffers of a model."""

from __future__ import annotations

import torch
from torch import nn

from research.model.parameters import saved_buffers, trainable_parameters


def test_saved_buffers_excludes_parameters_and_unsaved_buffers() -> None:
    module = nn.BatchNorm1d(2)
    module.register_buffer("scratch", torch.zeros(1), persistent=False)
    assert [name for name, _ in saved_buffers(module)] == ["running_mean", "running_var", "num_batches_tracked"]
    assert saved_buffers(module)[0][1] is module.running_mean


def test_trainable_parameters_are_in_the_models_order() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    parameters = trainable_parameters(model)
    assert [id(parameter) for parameter in parameters] == [id(model[0].weight), id(model[1].weight), id(model[1].bias)]

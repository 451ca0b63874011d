"""Layers are reinitialised or dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heads import EncoderSpec, Head, register_head
from heads.masking import masked_mean
from research.edits.base import EditError
from tests.research.edits.conftest import StartRehearsal, edit


class NormalizingHead(Head):
    """A linear layer on the normalised mean over tokens, with an additional buffer."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(encoder.hidden_size)
        self.out = nn.Linear(encoder.hidden_size, num_labels)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(self.norm(masked_mean(hidden_states, attention_mask)))


register_head("normalizing")(NormalizingHead)


def test_reinitialize_resets_buffers_of_modules_that_are_selected_as_a_whole(start_rehearsal: StartRehearsal) -> None:
    def buffers_after(**edits: str) -> tuple[float, float]:
        """Return the values of two buffers, which are 3 before the edits and 0 after a reset."""
        run = start_rehearsal("bert", "normalizing")
        head = run.encoder_with_head.head
        with torch.no_grad():
            for _, buffer in head.named_buffers():
                buffer.fill_(3)
        edit(run, **edits)
        return float(head.get_buffer("count")), float(head.get_buffer("norm.running_mean")[0])

    assert buffers_after(reinitialize="encoder") == (3, 3)
    assert buffers_after(reinitialize="head") == (0, 0)
    assert buffers_after(reinitialize="name:head.norm.*") == (3, 0)
    assert buffers_after(reinitialize="name:head.norm.weight") == (3, 3)


def test_reinitialize_draws_new_values_and_drops_the_optimizer_state(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    model = run.encoder_with_head
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        run.optimizer.state[parameter]["step"] = torch.tensor(1.0)
        with torch.no_grad():
            parameter.add_(1)
    edit(run, reinitialize="encoder.layer[1]")
    for name, parameter in model.named_parameters():
        is_selected = ".layer.1." in name
        assert (parameter not in run.optimizer.state) == (parameter in run.new_parameters) == is_selected, name
        if not is_selected:
            assert torch.equal(parameter, before[name] + 1), name
        elif parameter.ndim == 2:  # new values have the standard deviation of BERT's initialisation
            assert abs(float(parameter.detach().std()) - 0.02) < 0.004, name
        else:  # biases and norms start from constants
            assert torch.equal(parameter, before[name]), name


def test_drop_layers_keeps_the_remaining_layer_and_its_learning_rate(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    model = run.encoder_with_head
    layers = model.encoder.get_submodule("encoder.layer")
    assert isinstance(layers, nn.ModuleList)
    edit(run, set_lr={"lr": 0.25, "modules": "encoder.layer[1]"}, drop_layers="encoder.layer[0]")
    (kept,) = model.encoder.get_submodule("encoder.layer").children()
    assert kept is layers[1]
    assert model.config.encoder is not None
    assert model.config.encoder.num_hidden_layers == 1
    rates = {group["block"]: group["base_lr"] for group in run.optimizer.param_groups if group["params"]}
    assert rates["layer.0"] == 0.25
    assert "layer.1" not in rates


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([{"add_lora": {}}, {"reinitialize": "encoder"}], "merge_adapters"),
        ([{"drop_layers": "encoder.layer"}], "'encoder.layer' "),
        ([{"replace_head": "scalar_mix"}, {"drop_layers": "encoder.layer[0]"}], r"'scalar_mix' .*\b2 layers"),
    ],
)
def test_layer_edits_refuse_layers_that_cannot_be_changed(
    start_rehearsal: StartRehearsal, edits: list[dict[str, Any]], message: str
) -> None:
    run = start_rehearsal("bert")
    *earlier_edits, invalid_edit = edits
    for earlier_edit in earlier_edits:
        edit(run, **earlier_edit)
    with pytest.raises(EditError, match=message):
        edit(run, **invalid_edit)

"""Edits in every family of encoders, with adapters and without, and the models that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heads import EncoderSpec, Head, register_head
from heads.masking import masked_mean
from research.edits.base import EDITS as REGISTERED
from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from research.model import families
from research.model.encoder_with_head import EncoderWithHead
from tests.research.edits.conftest import Editing, edit
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch
from tests.shipped import shipped

EDITS: dict[str, Any] = {
    "freeze": "encoder.embeddings",
    "unfreeze": "encoder",
    "set_dropout": 0.25,
    "set_lr": 0.01,
    "scale_lr": {"factor": 0.5, "modules": "encoder"},
    "set_weight_decay": {"weight_decay": 0.1, "modules": "head"},
    "replace_head": {"name": "lstm", "lstm_size": 4},
    "reinitialize": "head",
    "drop_layers": "encoder.layer[0]",
    "set_objective": "focal",
    "set_max_length": 16,
    "add_lora": {"r": 2},
    "merge_lora": True,
}
CANNOT_DROP = {"albert": "slices layers", "modernbert": r"layers.0.attn_norm.weight differ\. Drop other layers"}
"""Why the first layer cannot be dropped: it is shared, or other than those after it."""
WITHOUT_GRADIENT = ("key.bias", "k_lin.bias", "attn.k.bias")
"""Their true gradient is 0."""


def logits(model: EncoderWithHead) -> Tensor:
    with torch.no_grad():
        return model.eval()(**tiny_batch()).logits


def check_trains(run: Rehearsal) -> None:
    """Take a step, and check that exactly what is to train moves."""
    model = run.encoder_with_head.train()
    for group in run.optimizer.param_groups:
        group["lr"] = 0.01
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    run.optimizer.step()
    run.optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        if name.endswith(WITHOUT_GRADIENT) or "lora_A" in name:  # lora_B is 0 at first, and so is lora_A's gradient
            assert not moved or parameter.requires_grad, name
        else:
            assert moved == parameter.requires_grad, name


def check_saves(run: Rehearsal, folder: Path) -> None:
    """Save the model and load it again: the outputs are the same, bit for bit."""
    model = run.encoder_with_head
    model.save_pretrained(folder)
    assert torch.equal(logits(EncoderWithHead.from_pretrained(folder)), logits(model))


def test_every_built_in_edit_is_looked_at() -> None:
    assert sorted(EDITS) == shipped(REGISTERED)


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_edited_model_trains_and_loads_in_every_family(
    editing: Editing, tmp_path: Path, family: str, name: str
) -> None:
    run = editing(family)
    if name == "merge_lora":
        edit(run, add_lora={"r": 2})
    if name == "drop_layers" and family in CANNOT_DROP:
        with pytest.raises(EditError, match=CANNOT_DROP[family]):
            edit(run, drop_layers="encoder.layer[0]")
        if family == "albert":
            return
        edit(run, drop_layers="encoder.layer[1]")
    else:
        edit(run, **{name: EDITS[name]})
    check_trains(run)
    check_saves(run, tmp_path)


@pytest.mark.parametrize("name", [name for name in EDITS if name != "add_lora"])
def test_edits_with_adapters_present(editing: Editing, tmp_path: Path, name: str) -> None:
    run = editing("bert")
    edit(run, add_lora={"r": 2})
    edit(run, **{name: EDITS[name]})
    check_trains(run)
    check_saves(run, tmp_path)


def test_adapters_of_dropped_layers_go_with_them(editing: Editing, tmp_path: Path) -> None:
    run = editing("bert")
    edit(run, freeze="encoder.layer[0]", add_lora={"r": 2, "modules": "encoder.layer[1]"})
    with pytest.raises(EditError, match="all of the adapters; merge_lora before"):
        edit(run, drop_layers="encoder.layer[1]")
    edit(run, drop_layers="encoder.layer[0]")
    adapters = [name for name, _ in run.encoder_with_head.named_parameters() if "lora_" in name]
    assert adapters
    assert all(".layer.0." in name for name in adapters)
    check_saves(run, tmp_path)
    edit(run, merge_lora=True)
    assert all(parameter.requires_grad for parameter in run.encoder_with_head.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_adapters_change_nothing_at_first_and_merge_to_the_same_outputs(editing: Editing, family: str) -> None:
    run = editing(family)
    model = run.encoder_with_head
    before = logits(model)
    edit(run, freeze="encoder.embeddings")
    mask = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    edit(run, add_lora={"r": 2})
    assert torch.equal(logits(model), before)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in model.named_parameters() if "lora_" in name or name.startswith("head.")}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    learned = logits(model)
    assert not torch.allclose(learned, before, atol=1e-3)
    edit(run, merge_lora=True)
    assert torch.allclose(logits(model), learned, atol=1e-5)
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == mask


def test_adapters_beside_a_base_that_trains_on(editing: Editing) -> None:
    run = editing("bert")
    edit(run, freeze="encoder.layer[0]", add_lora={"r": 2, "freeze_base": False, "targets": "attention"})
    named = dict(run.encoder_with_head.named_parameters())
    frozen = {name for name, parameter in named.items() if not parameter.requires_grad}
    assert frozen == {name for name in named if ".layer.0." in name and "lora_" not in name}
    adapters = {name for name in named if "lora_" in name}
    assert all(".attention." in name for name in adapters)
    assert len(adapters) == 2 * 2 * 4  # A and B, two layers, query, key, value and output


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([{"add_lora": {"r": 0}}], "Expected r and alpha above 0"),
        ([{"add_lora": {}}, {"add_lora": {}}], "There are adapters already"),
        ([{"add_lora": {"modules": "encoder.embeddings"}}], "no linear layer"),
        ([{"merge_lora": True}], "no adapters to merge"),
        ([{"add_lora": {}}, {"reinitialize": "encoder"}], "merge_lora before reinitialize"),
        ([{"drop_layers": "encoder.layer"}], "at least one must stay"),
        ([{"replace_head": "scalar_mix"}, {"drop_layers": "encoder.layer[0]"}], "built for the hidden states"),
        ([{"replace_head": "lsmt"}], "Did you mean 'lstm'"),
        ([{"set_dropout": 1.0}], "Expected p from 0 to below 1"),
        ([{"set_lr": 0.0}], "to train something no longer, freeze it"),
        ([{"scale_lr": -1.0}], "Expected a factor above 0"),
        ([{"set_weight_decay": -0.1}], "Expected a weight_decay of 0 or more"),
        ([{"set_max_length": 41}], "Expected a length of at most 40"),
        ([{"set_max_length": 2}], "length"),
        ([{"freeze": "all"}], "nothing is left to train"),
    ],
)
def test_edit_that_cannot_be_made_says_why(editing: Editing, edits: list[dict[str, Any]], message: str) -> None:
    run = editing("bert")
    *before, last = edits
    for each in before:
        edit(run, **each)
    with pytest.raises(ValueError, match=message):
        edit(run, **last)


def test_dropout_of_parts(editing: Editing) -> None:
    run = editing("bert", "mlp")
    edit(run, set_dropout={"p": 0.4, "modules": "encoder.layer[1]"})
    edit(run, set_dropout={"p": 0.2, "modules": "head"})
    model = run.encoder_with_head
    found = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    changed = {name: p for name, p in found.items() if p != 0.1}
    assert {name for name, p in changed.items() if p == 0.4} == {
        "encoder.encoder.layer.1.attention.output.dropout",
        "encoder.encoder.layer.1.output.dropout",
    }
    assert {name for name, p in changed.items() if p == 0.2} == {name for name in found if name.startswith("head.")}


class Normalizing(Head):
    """A mean of normalized hidden states, with a count of its own."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(encoder.hidden_size)
        self.out = nn.Linear(encoder.hidden_size, num_labels)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(self.norm(masked_mean(hidden_states, attention_mask)))


register_head("normalizing")(Normalizing)


def test_reinitialize_begins_buffers_anew_with_their_module(editing: Editing) -> None:
    def counts(**edits: str) -> tuple[float, float]:
        run = editing("bert", "normalizing")
        head = run.encoder_with_head.head
        with torch.no_grad():
            for _, buffer in head.named_buffers():
                buffer.fill_(3)
        edit(run, **edits)
        return float(head.get_buffer("count")), float(head.get_buffer("norm.running_mean")[0])

    assert counts(reinitialize="encoder") == (3, 3)
    assert counts(reinitialize="head") == (0, 0)
    assert counts(reinitialize="name:head.norm.*") == (3, 0)
    assert counts(reinitialize="name:head.norm.weight") == (3, 3)


@pytest.mark.parametrize("name", ["replace_head", "reinitialize", "add_lora"])
def test_new_values_follow_the_seed_and_the_edits_number_only(editing: Editing, name: str) -> None:
    def made(before: dict[str, Any]) -> dict[str, Tensor]:
        run = editing("bert")
        torch.rand(7)  # the training stream is elsewhere
        if before:
            edit(run, **before)
        edit(run, **{name: EDITS[name]})
        return {name: p.detach() for name, p in run.encoder_with_head.named_parameters() if p in run.fresh}

    first, again, as_second = made({}), made({}), made({"scale_lr": 0.5})
    assert first.keys() == again.keys() == as_second.keys()
    assert all(torch.equal(first[each], again[each]) for each in first)
    drawn = [each for each in first if first[each].ndim == 2 and first[each].std() > 0]
    assert drawn
    assert not any(torch.equal(first[each], as_second[each]) for each in drawn)


def test_dropout_of_the_head_does_not_need_to_know_the_encoders(
    editing: Editing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = editing("bert", "mlp")
    run.encoder_with_head.config.encoder.model_type = "of nobody"
    monkeypatch.setattr(families, "_usual_names", lambda kind, config: ())
    edit(run, set_dropout={"p": 0.2, "modules": "head"})
    with pytest.raises(ValueError, match="of nobody"):
        edit(run, set_dropout=0.3)

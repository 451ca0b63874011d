"""Neither adding adapters nor merging them into the weights changes the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from research.edits.base import EditError
from tests.research.edits.conftest import StartRehearsal, check_save_and_load, compute_logits, edit
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_adapters_keep_the_outputs_when_added_and_when_merged(start_rehearsal: StartRehearsal, family: str) -> None:
    run = start_rehearsal(family)
    model = run.encoder_with_head
    before = compute_logits(model)
    edit(run, freeze="encoder.embeddings")
    trainable_before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    edit(run, add_lora={"r": 2})
    assert torch.equal(compute_logits(model), before)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in model.named_parameters() if "lora_" in name or name.startswith("head.")}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)  # in place of training, because new adapters have no effect
    with_adapters = compute_logits(model)
    assert not torch.allclose(with_adapters, before, atol=1e-3)
    edit(run, merge_lora=True)
    assert torch.allclose(compute_logits(model), with_adapters, atol=1e-5)
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == trainable_before


def test_add_lora_without_freeze_base_does_not_freeze_parameters(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, freeze="encoder.layer[0]", add_lora={"r": 2, "freeze_base": False, "targets": "attention"})
    named = dict(run.encoder_with_head.named_parameters())
    frozen = {name for name, parameter in named.items() if not parameter.requires_grad}
    assert frozen == {name for name in named if ".layer.0." in name and "lora_" not in name}
    adapters = {name for name in named if "lora_" in name}
    assert all(".attention." in name for name in adapters)
    assert len(adapters) == 2 * 2 * 4  # A and B, two layers, query, key, value and output


def test_drop_layers_renumbers_adapters_and_refuses_to_drop_all_of_them(
    start_rehearsal: StartRehearsal, tmp_path: Path
) -> None:
    run = start_rehearsal("bert")
    edit(run, freeze="encoder.layer[0]", add_lora={"r": 2, "modules": "encoder.layer[1]"})
    with pytest.raises(EditError, match="merge_adapters"):
        edit(run, drop_layers="encoder.layer[1]")
    edit(run, drop_layers="encoder.layer[0]")
    adapters = [name for name, _ in run.encoder_with_head.named_parameters() if "lora_" in name]
    assert adapters
    assert all(".layer.0." in name for name in adapters)
    check_save_and_load(run, tmp_path)
    edit(run, merge_lora=True)
    # The frozen layer was dropped.
    assert all(parameter.requires_grad for parameter in run.encoder_with_head.parameters())


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([{"add_lora": {"r": 0}}], r"\b0, 16 and 0\.0"),  # r, alpha and dropout
        ([{"add_lora": {"dropout": 1.0}}], r"\b8, 16 and 1\.0"),
        ([{"add_lora": {}}, {"add_lora": {}}], "already has adapters.*merge_adapters"),
        ([{"add_lora": {"modules": "encoder.embeddings"}}], r"encoder\.embeddings'.*found none.*Embedding"),
        ([{"merge_lora": True}], "add_lora"),
    ],
)
def test_invalid_edits_of_adapters_are_refused(
    start_rehearsal: StartRehearsal, edits: list[dict[str, Any]], message: str
) -> None:
    run = start_rehearsal("bert")
    *earlier_edits, invalid_edit = edits
    for earlier_edit in earlier_edits:
        edit(run, **earlier_edit)
    with pytest.raises(EditError, match=message):
        edit(run, **invalid_edit)


def test_layers_that_do_not_affect_the_output_get_no_adapters(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("luke", "mean")  # its layers have projections for entities, which texts do not have
    edit(run, add_lora={"r": 2, "modules": "encoder"})
    model = run.encoder_with_head.train()
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    without_gradient = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not without_gradient
    assert not any("entity" in name or "2e_query" in name for name in model.config.adapters["targets"])


def test_layers_that_are_never_called_get_no_adapters(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("jamba", head="last")
    with pytest.raises(EditError, match=r"'dt_proj' matches no linear layer .* that adapters can change"):
        edit(run, add_lora={"r": 2, "targets": "dt_proj"})
    edit(run, add_lora={"r": 2})
    adapters = [name for name, _ in run.encoder_with_head.named_parameters() if "lora_" in name]
    assert any("x_proj" in name for name in adapters)
    assert not any("dt_proj" in name for name in adapters)

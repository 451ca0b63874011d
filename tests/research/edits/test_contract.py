"""Contract of every registered edit: in every family, the edited model trains, and can be saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.edits.base import EDITS as REGISTRY
from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from tests.research.edits.conftest import Editing, check_saves, edit
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch
from tests.shipped import shipped_names

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
CANNOT_DROP = {"albert": "albert ", "modernbert": r"layers\.0\.attn_norm\.weight"}
"""Families whose first layer cannot be dropped, with the error: all layers share weights, or the layer is special."""
WITHOUT_GRADIENT = ("key.bias", "k_lin.bias", "attn.k.bias")
"""Suffixes of parameters whose exact gradient is 0."""


def check_trains(run: Rehearsal) -> None:
    """Take a step, and check that exactly the trainable parameters change."""
    model = run.encoder_with_head.train()
    for group in run.optimizer.param_groups:
        group["lr"] = 0.01
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    run.optimizer.step()
    run.optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        has_changed = not torch.equal(parameter, before[name])
        if (
            name.endswith(WITHOUT_GRADIENT) or "lora_A" in name
        ):  # lora_B starts at 0, so the gradient of lora_A is 0 too
            assert not has_changed or parameter.requires_grad, name
        else:
            assert has_changed == parameter.requires_grad, name


def test_contract_covers_every_built_in_edit() -> None:
    assert sorted(EDITS) == shipped_names(REGISTRY)


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_edited_model_trains_and_loads(editing: Editing, tmp_path: Path, family: str, name: str) -> None:
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
def test_edit_works_with_adapters(editing: Editing, tmp_path: Path, name: str) -> None:
    run = editing("bert")
    edit(run, add_lora={"r": 2})
    edit(run, **{name: EDITS[name]})
    check_trains(run)
    check_saves(run, tmp_path)


@pytest.mark.parametrize("name", ["replace_head", "reinitialize", "add_lora"])
def test_edit_draws_values_that_depend_on_seed_and_edit_number_only(editing: Editing, name: str) -> None:
    def draw_parameters(earlier_edits: dict[str, Any]) -> dict[str, Tensor]:
        run = editing("bert")
        torch.rand(7)  # changes the random state of training
        if earlier_edits:
            edit(run, **earlier_edits)
        edit(run, **{name: EDITS[name]})
        return {name: p.detach() for name, p in run.encoder_with_head.named_parameters() if p in run.fresh}

    first, repeated, as_second_edit = draw_parameters({}), draw_parameters({}), draw_parameters({"scale_lr": 0.5})
    assert first.keys() == repeated.keys() == as_second_edit.keys()
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    drawn = [key for key in first if first[key].ndim == 2 and first[key].std() > 0]
    assert drawn
    assert not any(torch.equal(first[key], as_second_edit[key]) for key in drawn)

"""Contract of every registered edit: in every family, the edited model trains, and can be saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.edits.base import EDITS, EditError
from research.edits.builtin.adapters import PEFT
from research.edits.rehearsal import Rehearsal
from tests.research.edits.conftest import StartRehearsal, check_save_and_load, edit
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch
from tests.shipped import shipped_names

EDIT_VALUES: dict[str, Any] = {
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
    "set_optimizer": "muon",
    "set_max_length": 16,
    "set_bidirectional": True,
    "add_lora": {"r": 2},
    "add_dora": {"r": 2},
    "add_rslora": {"r": 2},
    "add_ia3": True,
    "add_oft": {"oft_block_size": 8},
    "add_vera": {"r": 4},
    "add_prompt_tuning": {"num_virtual_tokens": 3},
    "merge_adapters": True,
    "merge_lora": True,
}
"""A valid value for each edit, as in a timeline."""
CAUSAL = ("gpt2", "llama")
"""Families of decoders: set_bidirectional is refused in all others."""
FAMILIES = (*FAMILY_NAMES, *CAUSAL, "bart", "t5", "xlm")
CANNOT_DROP = {
    "albert": "albert ",
    "modernbert": r"layers\.0\.attn_norm\.weight",
    "t5": r"block\.0\..*relative_attention_bias",
}
"""Families whose first layer cannot be dropped, with a part of the error.

ALBERT's layers share their weights. ModernBERT's first layer has no norm, and T5's has the positions of all layers, so
that no other layer can take its place.
"""
WITHOUT_GRADIENT = ("key.bias", "k_lin.bias", "attn.k.bias")
"""Suffixes of parameters whose exact gradient is 0: a bias of the keys does not change the attention weights."""


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
        # lora_B and vera_lambda_b start at 0, so the gradients of lora_A and vera_lambda_d are 0 too.
        if name.endswith(WITHOUT_GRADIENT) or "lora_A" in name or "vera_lambda_d" in name:
            assert not has_changed or parameter.requires_grad, name
        else:
            assert has_changed == parameter.requires_grad, name


def test_contract_covers_every_built_in_edit() -> None:
    assert sorted(EDIT_VALUES) == shipped_names(EDITS)


@pytest.mark.parametrize("name", EDIT_VALUES)
@pytest.mark.parametrize("family", FAMILIES)
def test_edited_model_trains_and_can_be_saved_and_loaded(
    start_rehearsal: StartRehearsal, tmp_path: Path, family: str, name: str
) -> None:
    run = start_rehearsal(family, "last" if family in CAUSAL else "linear")
    if name == "set_bidirectional" and family not in CAUSAL:
        with pytest.raises(EditError, match=f"'{family}'"):
            edit(run, set_bidirectional=True)
        return
    if name == "add_oft" and family == "gpt2":
        with pytest.raises(EditError, match="Conv1D"):
            edit(run, add_oft=EDIT_VALUES["add_oft"])
        return
    if name in ("merge_adapters", "merge_lora"):
        edit(run, add_lora={"r": 2})
    if name == "drop_layers" and family in CANNOT_DROP:
        with pytest.raises(EditError, match=CANNOT_DROP[family]):
            edit(run, drop_layers="encoder.layer[0]")
        if family == "albert":  # none of its layers can be dropped
            return
        edit(run, drop_layers="encoder.layer[1]")
    else:
        edit(run, **{name: EDIT_VALUES[name]})
    check_trains(run)
    check_save_and_load(run, tmp_path)


WITHOUT_ADAPTERS = [
    name for name in EDIT_VALUES if name.removeprefix("add_") not in PEFT and name != "set_bidirectional"
]


@pytest.mark.parametrize("name", WITHOUT_ADAPTERS)
def test_model_with_adapters_can_be_edited_trained_saved_and_loaded(
    start_rehearsal: StartRehearsal, tmp_path: Path, name: str
) -> None:
    run = start_rehearsal("bert")
    edit(run, add_lora={"r": 2})
    edit(run, **{name: EDIT_VALUES[name]})
    check_trains(run)
    check_save_and_load(run, tmp_path)


@pytest.mark.parametrize("name", ["replace_head", "reinitialize", "add_lora", "add_dora", "add_rslora"])
def test_edit_draws_values_that_depend_only_on_the_seed_and_the_number_of_the_edit(
    start_rehearsal: StartRehearsal, name: str
) -> None:
    def draw_parameters(earlier_edits: dict[str, Any]) -> dict[str, Tensor]:
        run = start_rehearsal("bert")
        torch.rand(7)  # changes the random state of training
        if earlier_edits:
            edit(run, **earlier_edits)
        edit(run, **{name: EDIT_VALUES[name]})
        return {key: p.detach() for key, p in run.encoder_with_head.named_parameters() if p in run.new_parameters}

    first, repeated, as_second_edit = draw_parameters({}), draw_parameters({}), draw_parameters({"scale_lr": 0.5})
    assert first.keys() == repeated.keys() == as_second_edit.keys()
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    drawn = [key for key in first if first[key].ndim == 2 and first[key].std() > 0]
    assert drawn
    assert not any(torch.equal(first[key], as_second_edit[key]) for key in drawn)

"""Every kind of adapters starts without an effect, trains, is merged and is saved with its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel

from research.edits.base import EditError
from research.edits.builtin.adapters import PEFT
from research.edits.rehearsal import Rehearsal
from research.model.adapters import ADAPTER_KINDS, AdapterSettings, inject_adapters
from research.model.prompt_tuning import PROMPT_TUNING
from tests.research.edits.conftest import StartRehearsal, check_save_and_load, compute_logits, edit
from tests.research.model.test_adapter_targets import FAMILIES
from tests.research.model.tiny_encoders import FAMILY_NAMES
from tests.shipped import shipped_names

OPTIONS: dict[str, dict[str, Any]] = {
    "lora": {"r": 2},
    "dora": {"r": 2},
    "rslora": {"r": 4},
    "ia3": {},
    "oft": {"oft_block_size": 8},
    "vera": {"r": 4},
}
NUM_PARAMETERS = {  # of the query layer of BERT, with 32 inputs and outputs
    "lora": 2 * 2 * 32,
    "dora": 2 * 2 * 32 + 32,
    "rslora": 2 * 4 * 32,
    "ia3": 32,
    "vera": 4 + 32,
    "oft": 4 * (8 * 7 // 2),  # four blocks, each with the entries above the diagonal of an 8 x 8 matrix
}
QUERY = "encoder.layer.0.attention.self.query"


def adapters_of(run: Rehearsal) -> dict[str, nn.Parameter]:
    """Return the trainable parameters of the encoder."""
    return {name: p for name, p in run.encoder_with_head.encoder.named_parameters() if p.requires_grad}


def change_adapters(run: Rehearsal) -> None:
    """Change all adapters, in place of training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapters_of(run).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)


def test_every_kind_is_available_as_peft() -> None:
    assert shipped_names(PEFT) == sorted([*ADAPTER_KINDS, PROMPT_TUNING]) == sorted([*OPTIONS, PROMPT_TUNING])


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_adapters_keep_the_outputs_when_added_and_when_merged(
    start_rehearsal: StartRehearsal, tmp_path: Path, family: str, kind: str
) -> None:
    run = start_rehearsal(family)
    model = run.encoder_with_head
    before = compute_logits(model)
    edit(run, freeze="encoder.embeddings")
    trainable_before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    edit(run, **{f"add_{kind}": OPTIONS[kind] or True})
    torch.testing.assert_close(compute_logits(model), before, rtol=1e-5, atol=1e-5)
    assert adapters_of(run)
    assert not any("base_layer" in name or "embeddings" in name for name in adapters_of(run))
    change_adapters(run)
    with_adapters = compute_logits(model)
    assert float((with_adapters - before).abs().max()) > 5e-4
    check_save_and_load(run, tmp_path)
    edit(run, merge_adapters=True)
    torch.testing.assert_close(compute_logits(model), with_adapters, rtol=1e-4, atol=2e-5)
    assert model.config.adapters is None
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == trainable_before


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_number_of_parameters_is_that_of_the_paper(start_rehearsal: StartRehearsal, kind: str) -> None:
    run = start_rehearsal("bert")
    edit(run, **{f"add_{kind}": {**OPTIONS[kind], "targets": QUERY}})
    assert sum(parameter.numel() for parameter in adapters_of(run).values()) == NUM_PARAMETERS[kind]
    assert run.encoder_with_head.config.adapters["kind"] == kind
    assert run.encoder_with_head.config.adapters["targets"] == [QUERY]


def test_rslora_divides_by_the_square_root_of_the_rank(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    model = run.encoder_with_head
    weight = model.encoder.get_parameter(f"{QUERY}.weight").clone()
    edit(run, add_rslora={"r": 4, "lora_alpha": 6, "targets": QUERY})
    change_adapters(run)
    lora_a, lora_b = (parameter.detach().clone() for parameter in adapters_of(run).values())
    edit(run, merge_adapters=True)
    torch.testing.assert_close(model.encoder.get_parameter(f"{QUERY}.weight"), weight + lora_b @ lora_a * 6 / 4**0.5)


def test_the_random_matrices_of_vera_depend_on_the_number_of_the_edit_and_are_not_saved(
    start_rehearsal: StartRehearsal,
) -> None:
    def draw_key(*earlier: dict[str, Any]) -> int:
        run = start_rehearsal("bert")
        for each in earlier:
            edit(run, **each)
        edit(run, add_vera={"r": 4})
        assert not [name for name in run.encoder_with_head.state_dict() if "vera_A" in name or "vera_B" in name]
        key: int = run.encoder_with_head.config.adapters["options"]["projection_prng_key"]
        return key

    assert draw_key() == draw_key()
    assert draw_key() != draw_key({"scale_lr": 0.5})


def test_ia3_scales_inputs_of_feedforward_modules_and_outputs_of_other_layers(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, add_ia3={"targets": "query,output.dense", "feedforward_modules": "encoder.layer.1.output.dense"})
    shapes = {name.removesuffix(".ia3_l.default"): tuple(p.shape) for name, p in adapters_of(run).items()}
    assert shapes[QUERY] == (32, 1)
    assert shapes["encoder.layer.0.output.dense"] == (32, 1)
    assert shapes["encoder.layer.1.output.dense"] == (1, 48)
    edit(run, drop_layers="encoder.layer[0]")
    assert run.encoder_with_head.config.adapters["options"] == {"feedforward_modules": ["encoder.layer.0.output.dense"]}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"add_dora": {"r": 0}}, "r and alpha above 0"),
        ({"add_rslora": {"lora_dropout": 1.0}}, "less than 1"),
        ({"add_ia3": {"feedforward_modules": "*.quer"}}, r"'\*\.quer'.*Did you mean '\*\.query'"),
        ({"add_oft": {"oft_block_size": 1}}, "at least 2"),
        ({"add_oft": {"oft_block_size": 5}}, r"divide the 32 inputs of .*query, got 5"),
        ({"add_vera": {"d_initial": 0.0}}, "above 0"),
        ({"merge_adapters": True}, "no adapters to merge"),
    ],
)
def test_invalid_edits_are_refused(start_rehearsal: StartRehearsal, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(EditError, match=message):
        edit(start_rehearsal("bert"), **request_)


def test_kinds_that_do_not_support_the_layers_of_gpt2_are_refused() -> None:
    encoder = AutoModel.from_config(CONFIG_MAPPING["gpt2"](**FAMILIES["gpt2"][0]))
    with pytest.raises(ValueError, match=r"'oft'.*'gpt2'.*--peft lora"):
        inject_adapters(encoder, AdapterSettings("oft", ["h.0.attn.c_attn"], {"oft_block_size": 8}))


def test_settings_of_a_model_saved_with_lora_only_are_read() -> None:
    saved = {"targets": ["a"], "r": 3, "alpha": 7, "dropout": 0.1}
    assert AdapterSettings.from_config(saved) == AdapterSettings(
        "lora", ["a"], {"r": 3, "lora_alpha": 7, "lora_dropout": 0.1}
    )

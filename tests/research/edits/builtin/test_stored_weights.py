"""Edits of encoders whose frozen weights are stored in fewer bits (--base_dtype)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from research.edits.base import EditError
from research.model.adapters import name_without_adapters
from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import BaseDtype
from tests.research.edits.builtin.test_adapter_kinds import OPTIONS, change_adapters
from tests.research.edits.conftest import StartRehearsal, compute_logits, edit
from tests.research.model.test_base_dtype import DTYPES, store


@pytest.mark.parametrize("base_dtype", DTYPES)
@pytest.mark.parametrize("kind", OPTIONS)
def test_adapters_on_stored_weights_are_in_float32_and_merged_in_float32(
    start_rehearsal: StartRehearsal, tmp_path: Path, kind: str, base_dtype: BaseDtype
) -> None:
    run = start_rehearsal("bert", settings={"base_dtype": base_dtype})
    model = store(run.encoder_with_head, base_dtype)
    before = compute_logits(model)
    edit(run, **{f"add_{kind}": OPTIONS[kind] or True})
    torch.testing.assert_close(compute_logits(model), before, rtol=1e-5, atol=1e-5)
    adapters = [p for p in model.encoder.parameters() if p.requires_grad]
    assert adapters
    assert {parameter.dtype for parameter in adapters} == {torch.float32}
    change_adapters(run)
    with_adapters = compute_logits(model)
    assert float((with_adapters - before).abs().max()) > 5e-4
    model.save_pretrained(tmp_path)
    loaded = EncoderWithHead.from_pretrained(tmp_path)
    torch.testing.assert_close(compute_logits(loaded), with_adapters, rtol=1e-5, atol=1e-5)
    edit(run, merge_adapters=True)
    torch.testing.assert_close(compute_logits(model), with_adapters, rtol=1e-4, atol=2e-5)
    weights = [m.weight for m in model.encoder.modules() if isinstance(m, nn.Linear | nn.Embedding | Conv1D)]
    assert all(isinstance(weight, nn.Parameter) and weight.dtype == torch.float32 for weight in weights)
    assert not any(weight.requires_grad for weight in weights)


@pytest.mark.parametrize("base_dtype", DTYPES)
def test_edits_that_would_train_or_change_stored_weights_are_refused(
    start_rehearsal: StartRehearsal, base_dtype: BaseDtype
) -> None:
    run = start_rehearsal("bert", settings={"base_dtype": base_dtype})
    store(run.encoder_with_head, base_dtype)
    with pytest.raises(EditError, match=rf"query\.weight.*{base_dtype}.*--base_dtype float32"):
        edit(run, unfreeze="encoder.layer[0]")
    with pytest.raises(EditError, match=rf"{base_dtype}.*--base_dtype float32"):
        edit(run, reinitialize="encoder.layer[1]")
    with pytest.raises(EditError, match=rf"freeze_base.*{base_dtype}"):
        edit(run, add_lora={"freeze_base": False})
    edit(run, unfreeze="name:*.LayerNorm.*")
    names = [name_without_adapters(name) for name, p in run.encoder_with_head.named_parameters() if p.requires_grad]
    assert "encoder.encoder.layer.0.output.LayerNorm.weight" in names

"""Prompt tuning: virtual tokens are in front of the tokens of each row, on both sides of padding, and are not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.edits.base import EditError
from research.edits.rehearsal import Rehearsal
from research.model.base_dtype import store_base_weights
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import positions_of
from research.model.family import Positions
from research.runner.first_checks.choices import check_choices
from research.settings.config import RunConfig
from tests.research.edits.conftest import StartRehearsal, check_save_and_load, compute_logits, edit
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch

FAMILIES = (*FAMILY_NAMES, "bart", "gpt2", "llama", "t5", "xlm")
LENGTHS = (9, 5, 1)
NUM_VIRTUAL = 3
PROMPT = "encoder.prompt_tuning.embedding.weight"


def start_with_prompt(start_rehearsal: StartRehearsal, family: str, **options: Any) -> Rehearsal:
    """Return a rehearsal of a model with virtual tokens, in evaluation mode."""
    run = start_rehearsal(family, **{"head": "mean", **options})
    edit(run, add_prompt_tuning={"num_virtual_tokens": NUM_VIRTUAL, "prompt_tuning_init": "RANDOM"})
    run.encoder_with_head.eval()
    return run


def on_the_left(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same rows with padding on the left."""
    shifts = [len(row) - int(row.sum()) for row in batch["attention_mask"]]
    return {
        name: torch.stack([row.roll(shift) for row, shift in zip(values, shifts, strict=True)])
        for name, values in batch.items()
    }


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_a_batch_are_those_of_single_rows(start_rehearsal: StartRehearsal, family: str, side: str) -> None:
    model = start_with_prompt(start_rehearsal, family).encoder_with_head
    if side == "left" and positions_of(model.config.encoder) is Positions.FROM_LEFT_END:
        pytest.skip("the encoder counts positions from the left end of the row")
    batch = tiny_batch(LENGTHS)
    batch["token_type_ids"] = torch.arange(max(LENGTHS)).gt(3).long() * batch["attention_mask"]
    padded = on_the_left(batch) if side == "left" else batch
    with torch.no_grad():
        together = model(**padded).logits
        for row, length in enumerate(LENGTHS):
            alone = model(**{name: values[row : row + 1, :length] for name, values in batch.items()}).logits
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "modernbert", "roberta"])
def test_virtual_tokens_have_the_effect_of_tokens_with_these_embeddings(
    start_rehearsal: StartRehearsal, family: str
) -> None:
    run = start_rehearsal(family, head="mean")
    model = run.encoder_with_head.eval()
    ids = torch.tensor([[7, 8, 9, 11, 12]])
    words = model.get_input_embeddings()
    with torch.no_grad():
        states = model.encoder(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    edit(run, add_prompt_tuning={"num_virtual_tokens": 2})
    model.eval()
    with torch.no_grad():
        model.get_parameter(PROMPT).copy_(words(ids[0, :2]))
        rest = ids[:, 2:]
        with_prompt = model.run_encoder(rest, torch.ones_like(rest), all_layers=False)
        every_layer = model.run_encoder(rest, torch.ones_like(rest), all_layers=True)
        given = model(inputs_embeds=words(rest)).logits
    assert isinstance(with_prompt, Tensor)
    torch.testing.assert_close(with_prompt, states[:, 2:], rtol=1e-5, atol=1e-5)
    assert {layer.shape[1] for layer in every_layer} == {3}
    torch.testing.assert_close(given, model(input_ids=rest).logits)


def test_given_position_ids_count_the_virtual_tokens(start_rehearsal: StartRehearsal) -> None:
    model = start_with_prompt(start_rehearsal, "gpt2").encoder_with_head
    batch = on_the_left(tiny_batch(LENGTHS))
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch, position_ids=positions).logits, model(**batch).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_prompt_and_the_head_train_and_both_are_saved(
    start_rehearsal: StartRehearsal, tmp_path: Path, family: str
) -> None:
    run = start_rehearsal(family, head="mean")
    edit(run, add_prompt_tuning={"num_virtual_tokens": NUM_VIRTUAL})
    model = run.encoder_with_head
    trainable = [name for name, p in model.encoder.named_parameters(prefix="encoder") if p.requires_grad]
    assert trainable == [PROMPT]
    words = model.get_input_embeddings().weight
    assert isinstance(words, Tensor)
    assert all(any(torch.equal(row, word) for word in words) for row in model.get_parameter(PROMPT))
    before = compute_logits(model)
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    gradient = model.get_parameter(PROMPT).grad
    assert gradient is not None
    assert bool(gradient.abs().sum(1).gt(0).all())
    with torch.no_grad():
        model.get_parameter(PROMPT).add_(1.0)
    assert not torch.equal(compute_logits(model), before)
    check_save_and_load(run, tmp_path)
    assert EncoderWithHead.from_pretrained(tmp_path).config.adapters["kind"] == "prompt_tuning"


def test_prompts_are_added_to_stored_weights(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("llama", head="last", settings={"base_dtype": "bf16"})
    model = run.encoder_with_head
    store_base_weights(model.encoder, "bf16", torch.device("cpu"))
    edit(run, add_prompt_tuning={"num_virtual_tokens": NUM_VIRTUAL})
    assert model.get_parameter(PROMPT).dtype == torch.float32
    assert bool(compute_logits(model).isfinite().all())


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([{"add_prompt_tuning": {"num_virtual_tokens": 0}}], "above 0, got 0"),
        ([{"add_prompt_tuning": {"num_virtual_tokens": 9}}], r"at most 31 tokens.*supports 40; got 32.*--max_length"),
        ([{"add_prompt_tuning": True, "merge_adapters": True}], "cannot be merged"),
        ([{"add_prompt_tuning": True, "add_lora": True}], "already has adapters.*cannot be merged"),
        ([{"add_lora": True, "add_prompt_tuning": True}], "already has adapters.*merge_adapters"),
        ([{"add_prompt_tuning": {"num_virtual_tokens": 8}, "set_max_length": 33}], "at most 32.*8 virtual tokens"),
    ],
)
def test_impossible_edits_are_refused(
    start_rehearsal: StartRehearsal, edits: list[dict[str, Any]], message: str
) -> None:
    run = start_rehearsal("bert")
    defaults: dict[str, Any] = {"add_prompt_tuning": {"num_virtual_tokens": NUM_VIRTUAL}, "add_lora": {"r": 2}}
    with pytest.raises(EditError, match=message):
        edit(run, **{name: defaults.get(name, value) if value is True else value for name, value in edits[0].items()})


def test_prefix_tuning_is_refused_with_an_alternative() -> None:
    with pytest.raises(ValueError, match="--peft prompt_tuning"):
        check_choices(RunConfig(peft={"name": "prefix_tuning", "num_virtual_tokens": 4}))

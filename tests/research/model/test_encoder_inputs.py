"""Encoders get position ids, a mask and global attention that do not depend on where padding is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from research.model.encoder_inputs import as_attention_mask, complete_inputs
from tests.research.model.tiny_encoders import tiny_batch, tiny_model

MASK = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
ALL = frozenset({"input_ids", "attention_mask", "position_ids", "global_attention_mask"})


def complete(first_position: int | None, accepted: frozenset[str] = ALL, **inputs: Tensor | None) -> dict[str, Tensor]:
    return complete_inputs({"input_ids": torch.zeros_like(MASK), **inputs}, MASK, accepted, first_position)


def test_position_ids_count_the_tokens_of_each_row() -> None:
    expected = torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    assert torch.equal(complete(0)["position_ids"], expected)


def test_position_ids_after_the_padding_id_leave_it_to_padding() -> None:
    expected = torch.tensor([[2, 3, 4, 1], [1, 1, 2, 3], [1, 2, 1, 3]])
    assert torch.equal(complete(2)["position_ids"], expected)


def test_given_position_ids_are_kept_and_none_are_made_for_encoders_that_count_themselves() -> None:
    given = torch.full_like(MASK, 7)
    assert torch.equal(complete(0, position_ids=given)["position_ids"], given)
    assert "position_ids" not in complete(None)


def test_first_token_has_global_attention() -> None:
    expected = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]])
    assert torch.equal(complete(0)["global_attention_mask"], expected)
    assert "global_attention_mask" not in complete(0, frozenset({"input_ids"}))


def test_inputs_that_the_encoder_does_not_take_are_left_out() -> None:
    inputs = complete(0, frozenset({"input_ids", "position_ids"}), token_type_ids=torch.zeros_like(MASK))
    assert set(inputs) == {"input_ids", "attention_mask", "position_ids"}


def test_masks_of_other_types_and_no_mask_become_integers() -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    assert torch.equal(as_attention_mask(None, ids), torch.ones_like(ids))
    assert torch.equal(as_attention_mask(MASK.bool(), MASK), MASK)
    assert torch.equal(as_attention_mask(MASK.float(), MASK), MASK)
    assert as_attention_mask(None, torch.zeros(2, 3, 8)).shape == (2, 3)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_forward_accepts_embeddings_positions_boolean_masks_and_no_mask(family: str) -> None:
    model = tiny_model(family).eval()
    batch = tiny_batch()
    with torch.no_grad():
        expected = model(**batch).logits
        embedded = model.get_input_embeddings()(batch["input_ids"])
        mask = batch["attention_mask"]
        assert torch.equal(model(input_ids=batch["input_ids"], attention_mask=mask.bool()).logits, expected)
        torch.testing.assert_close(model(inputs_embeds=embedded, attention_mask=mask).logits, expected)
        single = {"input_ids": batch["input_ids"][:1]}
        torch.testing.assert_close(model(**single).logits, expected[:1])
        first = model.first_position or 0
        positions = torch.arange(9).unsqueeze(0) + first
        torch.testing.assert_close(model(**single, position_ids=positions).logits, expected[:1])
        assert (model(**single, position_ids=positions + 3).logits - expected[:1]).abs().max() > 1e-6
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        model(**batch, inputs_embeds=embedded)
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        model(attention_mask=mask)


def test_forward_returns_hidden_states_attentions_or_a_tuple_on_request() -> None:
    model = tiny_model("bert").eval()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(**tiny_batch(), output_hidden_states=True, output_attentions=True)
        assert len(outputs.hidden_states) == 3
        assert len(outputs.attentions) == 2
        assert model(**tiny_batch()).hidden_states is None
        (logits,) = model(**tiny_batch(), return_dict=False)
    assert torch.equal(logits, outputs.logits)


def test_nan_in_the_padding_of_the_encoders_output_does_not_reach_the_logits() -> None:
    model = tiny_model("bert").eval()
    batch = tiny_batch()
    with torch.no_grad():
        expected = model(**batch).logits

        def spoil(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output.masked_fill(batch["attention_mask"].eq(0).unsqueeze(-1), float("nan"))

        model.encoder.encoder.layer[-1].register_forward_hook(spoil)
        assert torch.equal(model(**batch).logits, expected)

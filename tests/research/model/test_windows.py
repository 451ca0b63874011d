"""The hidden states of windows are joined in order; gradients flow through all windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from research.model import windows as windows_module
from research.model.encoder_with_head import EncoderWithHead
from research.model.gradient_checkpointing import enable_gradient_checkpointing
from research.model.windows import run_on_windows
from tests.research.model.tiny_encoders import FAMILY_NAMES, PAD, tiny_model

CLS, SEP = 2, 3
WINDOWS = torch.tensor([[[1, 9], [6, 14], [11, 17]], [[1, 6], [-1, -1], [-1, -1]]])
"""Two texts of 16 and 5 tokens in windows of 8 tokens and a stride of 5, as positions in the rows of `make_rows`."""


def make_rows() -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask of two rows of 18 and 7 tokens, special tokens included."""
    ids = torch.full((2, 20), PAD)
    ids[0, :18] = torch.tensor([CLS, *range(10, 26), SEP])
    ids[1, :7] = torch.tensor([CLS, *range(30, 35), SEP])
    return ids, ids.ne(PAD).long()


def with_windows(
    family: str = "bert", head: str = "probe", *, batch_size: int = 2, dropout: float = 0.0
) -> EncoderWithHead:
    """Return a tiny model that takes windows."""
    model = tiny_model(family, head)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    model.config.windows = {"stride": 5, "max_windows": 3, "batch_size": batch_size}
    return model


def hand_made(model: EncoderWithHead, *, all_layers: bool = False) -> list[Tensor]:
    """Return the joined hidden states of the first row, from one pass per window without padding, by layer."""
    ids, _ = make_rows()
    windows = [torch.tensor([[CLS, *ids[0, start:end].tolist(), SEP]]) for start, end in WINDOWS[0].tolist()]
    outputs = [model.run_encoder(each, torch.ones_like(each), all_layers=all_layers) for each in windows]
    layers = [output if isinstance(output, tuple) else (output,) for output in outputs]
    joined = []
    for first, second, third in zip(*layers, strict=True):
        start = (first[0, 0] + second[0, 0] + third[0, 0]) / 3
        end = (first[0, -1] + second[0, -1] + third[0, -1]) / 3
        # The windows overlap in the positions 6, 7, 8 and 11, 12, 13. The middle tokens have equally much context in
        # both windows, and belong to the first: 1-7, 8-12 and 13-16. A window's own text starts at its index 1.
        body = [first[0, 1:8], second[0, 3:8], third[0, 3:7]]
        joined.append(torch.cat([start[None], *body, end[None]]))
    return joined


def test_each_token_has_the_state_of_the_window_with_most_context() -> None:
    def encode(inputs: Mapping[str, Tensor], mask: Tensor) -> tuple[Tensor, ...]:
        ids = inputs["input_ids"]
        first_of_text = ids[:, 1:2].expand_as(ids)
        return (torch.stack([ids, first_of_text], dim=-1).double(),)

    ids, mask = make_rows()
    padding = {"input_ids": PAD}
    (states,) = run_on_windows(encode, {"input_ids": ids}, mask, WINDOWS, batch_size=2, padding=padding)
    assert states[..., 0].tolist() == ids.masked_fill(mask.eq(0), 0).tolist()
    # The first token of each text's window is 10, 15 or 20; special tokens have the mean.
    assert states[0, :, 1].tolist() == [15, *[10] * 7, *[15] * 5, *[20] * 4, 15, 0, 0]
    assert states[1, :, 1].tolist() == [30] * 7 + [0] * 13


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_joined_states_equal_those_of_hand_made_windows(family: str) -> None:
    model = with_windows(family).eval()
    ids, mask = make_rows()
    for all_layers in (False, True):
        joined = model.run_encoder(ids, mask, windows=WINDOWS, all_layers=all_layers)
        layers = joined if isinstance(joined, tuple) else (joined,)
        for layer, expected in zip(layers, hand_made(model, all_layers=all_layers), strict=True):
            torch.testing.assert_close(layer[0, :18], expected, atol=1e-5, rtol=1e-5)
            assert not layer[0, 18:].any()
            assert not layer[1, 7:].any()
        alone = model.run_encoder(ids[1:, :7], mask[1:, :7], all_layers=all_layers)
        for layer, expected in zip(layers, alone if isinstance(alone, tuple) else (alone,), strict=True):
            torch.testing.assert_close(layer[1, :7], expected[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", ["linear", "attention", "scalar_mix"])
def test_logits_are_those_of_the_head_on_the_joined_states(head: str) -> None:
    model = with_windows(head=head).eval()
    ids, mask = make_rows()
    states = model.run_encoder(ids, mask, windows=WINDOWS, all_layers=model.head.wants == "all_hidden_states")
    logits = model(input_ids=ids, attention_mask=mask, windows=WINDOWS).logits
    assert torch.equal(logits, model(input_ids=ids, attention_mask=mask, hidden_states=states).logits)


def gradients(model: EncoderWithHead) -> dict[str, Tensor]:
    """Return the gradients of the loss of two rows."""
    ids, mask = make_rows()
    torch.manual_seed(0)
    logits = model(input_ids=ids, attention_mask=mask, windows=WINDOWS).logits
    logits.sin().sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_gradients_do_not_depend_on_the_batches_of_windows(batch_size: int) -> None:
    expected = gradients(with_windows(batch_size=100).double().train())
    found = gradients(with_windows(batch_size=batch_size).double().train())
    assert found.keys() == expected.keys()
    assert any("embeddings" in name for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-10, rtol=1e-10)


def test_activations_are_computed_again_with_the_same_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    model = with_windows(batch_size=1, dropout=0.3).train()
    model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    found = gradients(model)
    assert len(calls) == 8  # four windows, each in the forward and in the backward pass
    without_dropout = gradients(with_windows(batch_size=1).train())
    assert any(not torch.allclose(found[name], without_dropout[name]) for name in found)

    def keep_activations(function: Any, *arguments: Any, use_reentrant: bool) -> Any:
        assert not use_reentrant
        return function(*arguments)

    monkeypatch.setattr(windows_module, "checkpoint", keep_activations)
    expected = gradients(with_windows(batch_size=1, dropout=0.3).train())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_gradient_checkpointing_of_the_layers_changes_no_gradient() -> None:
    expected = gradients(with_windows(batch_size=1, dropout=0.3).train())
    model = with_windows(batch_size=1, dropout=0.3).train()
    enable_gradient_checkpointing(model.encoder)
    found = gradients(model)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_is_computed_again_without_gradients_or_in_a_single_batch() -> None:
    ids, mask = make_rows()
    for batch_size, enabled, expected in ((1, False, 4), (4, True, 1)):
        calls: list[int] = []
        model = with_windows(batch_size=batch_size).train()
        model.encoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        with torch.set_grad_enabled(enabled):
            logits = model(input_ids=ids, attention_mask=mask, windows=WINDOWS).logits
        if enabled:
            logits.sum().backward()
        assert len(calls) == expected


def test_a_model_without_windows_and_other_inputs_are_refused() -> None:
    ids, mask = make_rows()
    with pytest.raises(ValueError, match="no windows"):
        tiny_model("bert")(input_ids=ids, attention_mask=mask, windows=WINDOWS)
    model = with_windows()
    with pytest.raises(ValueError, match="position_ids"):
        model(input_ids=ids, attention_mask=mask, windows=WINDOWS, position_ids=ids)
    with pytest.raises(ValueError, match="attention weights"):
        model(input_ids=ids, attention_mask=mask, windows=WINDOWS, output_attentions=True)

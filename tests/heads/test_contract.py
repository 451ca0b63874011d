"""What every registered head must do; a new head is tested without anyone remembering."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from heads import HEADS, EncoderSpec, Head

SPEC = EncoderSpec(hidden_size=16, num_hidden_states=5)
NUM_LABELS = 3


def make(name: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return HEADS[name](SPEC, NUM_LABELS)


def hidden_states(head: Head, batch: int, seq: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return as many hidden states as the head wants."""
    num = SPEC.num_hidden_states if head.wants == "all_hidden_states" else 1
    generator = torch.Generator().manual_seed(batch * 100 + seq)
    return [torch.randn(batch, seq, SPEC.hidden_size, generator=generator).to(dtype) for _ in range(num)]


def call(head: Head, states: list[Tensor], mask: Tensor) -> Tensor:
    return head(tuple(states) if head.wants == "all_hidden_states" else states[0], mask)


@pytest.fixture(params=list(HEADS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_head_gives_one_logit_per_label(name: str) -> None:
    head = make(name)
    logits = call(head, hidden_states(head, 4, 7), torch.ones(4, 7, dtype=torch.long))
    assert logits.shape == (4, NUM_LABELS)
    assert logits.dtype == torch.float32


def test_head_sends_gradients_to_every_parameter_and_hidden_state(name: str) -> None:
    head = make(name).eval()
    states = [state.requires_grad_() for state in hidden_states(head, 4, 7)]
    call(head, states, torch.ones(4, 7, dtype=torch.long)).square().sum().backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    if name != "last4":  # it looks at four of the five
        assert all(state.grad is not None and state.grad.abs().sum() > 0 for state in states)


@pytest.mark.parametrize("layout", ["right", "left", "both sides", "holes"])
def test_head_is_blind_to_padding(name: str, layout: str) -> None:
    head = make(name).eval()
    tokens = hidden_states(head, 3, 6)
    expected = call(head, tokens, torch.ones(3, 6, dtype=torch.long))
    places = {
        "right": [0, 1, 2, 3, 4, 5],
        "left": [4, 5, 6, 7, 8, 9],
        "both sides": [2, 3, 4, 5, 6, 7],
        "holes": [1, 2, 4, 5, 8, 9],
    }[layout]
    mask = torch.zeros(3, 10, dtype=torch.long)
    mask[:, places] = 1
    padded = []
    for state in tokens:
        wide = torch.full((3, 10, SPEC.hidden_size), 1e4)
        wide[:, places] = state
        padded.append(wide)
    torch.testing.assert_close(call(head, padded, mask), expected, rtol=1e-5, atol=1e-5)


def test_head_treats_rows_one_by_one(name: str) -> None:
    head = make(name).eval()
    states = hidden_states(head, 4, 9)
    mask = (torch.arange(9) < torch.tensor([[9], [1], [5], [3]])).long()
    together = call(head, states, mask)
    for row, length in enumerate((9, 1, 5, 3)):
        alone = call(head, [state[row : row + 1, :length] for state in states], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-5)


def test_head_gives_finite_logits_and_gradients_to_a_row_without_tokens(name: str) -> None:
    head = make(name).train()
    states = [state.requires_grad_() for state in hidden_states(head, 3, 5)]
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[1] = 0
    logits = call(head, states, mask)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(state.grad is None or state.grad.isfinite().all() for state in states)


@pytest.mark.parametrize("seq", [1, 2])
def test_head_takes_rows_as_short_as_one_token(name: str, seq: int) -> None:
    head = make(name)
    assert call(head, hidden_states(head, 2, seq), torch.ones(2, seq, dtype=torch.long)).isfinite().all()


def test_head_computes_in_bfloat16(name: str) -> None:
    head = make(name).eval()
    mask = (torch.arange(8) < torch.tensor([[8], [5], [0]])).long()
    expected = call(head, hidden_states(head, 3, 8), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = call(head, hidden_states(head, 3, 8), mask)
    pure = call(head.bfloat16(), hidden_states(head, 3, 8, torch.bfloat16), mask)
    assert pure.dtype == torch.bfloat16
    for found in (mixed, pure):
        assert found.isfinite().all()
        assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max() + 0.02


def test_head_survives_saving_and_loading(name: str, tmp_path: Path) -> None:
    head, other = make(name, seed=0).eval(), make(name, seed=1).eval()
    states, mask = hidden_states(head, 2, 5), torch.ones(2, 5, dtype=torch.long)
    assert not torch.equal(call(head, states, mask), call(other, states, mask))
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    other.load_state_dict(load_file(tmp_path / "head.safetensors"), strict=True)
    assert torch.equal(call(head, states, mask), call(other, states, mask))


def test_head_has_persistent_buffers_only(name: str) -> None:
    head = make(name)
    assert {buffer_name for buffer_name, _ in head.named_buffers()} <= set(head.state_dict())


def test_head_initialises_itself_from_the_seed(name: str) -> None:
    first, again = make(name, seed=3).state_dict(), make(name, seed=3).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())


def test_head_documents_source_and_options(name: str) -> None:
    text = inspect.getdoc(HEADS[name]) or ""
    assert "Source: " in text
    parameters = inspect.signature(HEADS[name].__init__).parameters.values()
    options = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        assert f"    {option.name}: " in text, f"{name} does not document {option.name}"
        assert option.default is not option.empty
        assert option.annotation is not option.empty


def test_head_drops_nothing_in_evaluation_mode(name: str) -> None:
    head = make(name).eval()
    states, mask = hidden_states(head, 2, 5), torch.ones(2, 5, dtype=torch.long)
    assert torch.equal(call(head, states, mask), call(head, states, mask))


def test_head_refuses_unknown_options(name: str) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        HEADS[name](SPEC, NUM_LABELS, no_such_option=1)

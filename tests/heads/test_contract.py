"""Requirements for every registered head; new heads are tested automatically.

Each head is tested with its defaults, and with every value of its `Literal` options while every `num_...` option is 2.
Every `..._size` option is 8, for speed.
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docstring_parser
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heads import HEADS, EncoderSpec, Head
from heads.masking import POOLINGS
from tests.shipped import shipped_names

SPEC = EncoderSpec(hidden_size=16, num_hidden_states=5)
NUM_LABELS = 3


@dataclass(frozen=True)
class Variant:
    """A head's name, and the options with which it is tested."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{option}={value}" for option, value in self.options)])


def variants_of(name: str) -> Iterator[Variant]:
    """Yield the tested variants of a head; see the docstring of this module."""
    hints = typing.get_type_hints(HEADS[name].__init__)
    sizes = [(option, 8) for option in hints if option.endswith("_size")]
    yield Variant(name, tuple(sizes))
    counts = [(option, 2) for option in hints if option.startswith("num_") and option != "num_labels"]
    choices = [
        [(option, value) for value in typing.get_args(hint)]
        for option, hint in hints.items()
        if typing.get_origin(hint) is typing.Literal
    ]
    for combination in itertools.product(*choices):
        if counts or combination:
            yield Variant(name, (*sizes, *counts, *combination))


VARIANTS = [variant for name in shipped_names(HEADS) for variant in variants_of(name)]


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


@pytest.fixture(params=shipped_names(HEADS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build_head(variant: Variant, seed: int = 0) -> Head:
    """Build a head with random weights drawn from a seed."""
    torch.manual_seed(seed)
    return HEADS[variant.name](SPEC, NUM_LABELS, **dict(variant.options))


def random_hidden_states(head: Head, batch: int, seq: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return random hidden states, [batch, seq, hidden]: of all layers if the head wants them, or only of the last."""
    num_states = SPEC.num_hidden_states if head.wants == "all_hidden_states" else 1
    generator = torch.Generator().manual_seed(batch * 100 + seq)
    return [torch.randn(batch, seq, SPEC.hidden_size, generator=generator).to(dtype) for _ in range(num_states)]


def compute_logits(head: Head, states: list[Tensor], mask: Tensor) -> Tensor:
    return head(tuple(states) if head.wants == "all_hidden_states" else states[0], mask)


def test_jaxtyping_checks_shapes_in_tests() -> None:
    with pytest.raises(Exception, match="Type-check error") as caught:
        HEADS["linear"](SPEC, NUM_LABELS)(torch.zeros(2, 5, SPEC.hidden_size), torch.ones(2, 4, dtype=torch.long))
    assert type(caught.value).__name__ == "TypeCheckError"


def test_head_gives_one_logit_per_label(variant: Variant) -> None:
    head = build_head(variant)
    logits = compute_logits(head, random_hidden_states(head, 4, 7), torch.ones(4, 7, dtype=torch.long))
    assert logits.shape == (4, NUM_LABELS)
    assert logits.dtype == torch.float32


def test_token_weights_sum_to_one_over_the_tokens_of_a_row(variant: Variant) -> None:
    head = build_head(variant).eval()
    states = random_hidden_states(head, 2, 7)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 1]])
    weights = head.token_weights(tuple(states) if head.wants == "all_hidden_states" else states[0], mask)
    assert (weights is not None) == (variant.name == "attention")
    if weights is not None:
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
        assert weights[mask == 0].eq(0).all()


def test_head_starts_with_its_input_pooling(variant: Variant) -> None:
    head = build_head(variant)  # in training mode, in which dropout before the pooling would change the logits
    expected = {"linear", "mlp", "mean", "max", "last", "mean_last", "scalar_mix", "last4"}
    assert (head.input_pooling is not None) == (variant.name in expected)
    if head.input_pooling is not None:
        states = random_hidden_states(head, 3, 7)
        mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
        pooled = [POOLINGS[head.input_pooling](layer, mask).unsqueeze(1) for layer in states]
        torch.manual_seed(0)
        logits = compute_logits(head, states, mask)
        torch.manual_seed(0)
        torch.testing.assert_close(compute_logits(head, pooled, torch.ones(3, 1, dtype=torch.long)), logits)


def test_head_propagates_gradients_to_all_parameters_and_the_last_hidden_state(variant: Variant) -> None:
    head = build_head(variant).eval()
    states = [state.requires_grad_() for state in random_hidden_states(head, 4, 7)]
    compute_logits(head, states, torch.ones(4, 7, dtype=torch.long)).square().sum().backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    last = states[-1].grad
    assert last is not None
    assert (last.abs().sum(dim=(1, 2)) > 0).all(), "a row of the last layer has no gradient"


@pytest.mark.parametrize("layout", ["right", "left", "both sides", "holes"])
def test_head_ignores_padding(variant: Variant, layout: str) -> None:
    head = build_head(variant).eval()
    tokens = random_hidden_states(head, 3, 6)
    expected = compute_logits(head, tokens, torch.ones(3, 6, dtype=torch.long))
    positions = {
        "right": [0, 1, 2, 3, 4, 5],
        "left": [4, 5, 6, 7, 8, 9],
        "both sides": [2, 3, 4, 5, 6, 7],
        "holes": [1, 2, 4, 5, 8, 9],
    }[layout]
    mask = torch.zeros(3, 10, dtype=torch.long)
    mask[:, positions] = 1
    padded = []
    for state in tokens:
        padded_state = torch.full((3, 10, SPEC.hidden_size), 1e4)
        padded_state[:, positions] = state
        padded.append(padded_state.requires_grad_())
    logits = compute_logits(head, padded, mask)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    logits.square().sum().backward()
    for state in padded:
        assert state.grad is None or (state.grad[mask == 0] == 0).all(), "padding gets gradients"


def test_head_processes_rows_independently(variant: Variant) -> None:
    head = build_head(variant).eval()
    states = random_hidden_states(head, 4, 9)
    mask = (torch.arange(9) < torch.tensor([[9], [1], [5], [3]])).long()
    together = compute_logits(head, states, mask)
    for row, length in enumerate((9, 1, 5, 3)):
        alone = compute_logits(head, [state[row : row + 1, :length] for state in states], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("empty", [[1], [0, 1, 2]], ids=["one row", "all rows"])
def test_head_has_finite_logits_and_gradients_for_rows_without_tokens(variant: Variant, empty: list[int]) -> None:
    head = build_head(variant).train()
    states = [state.requires_grad_() for state in random_hidden_states(head, 3, 5)]
    mask = torch.ones(3, 5, dtype=torch.long)
    mask[empty] = 0
    logits = compute_logits(head, states, mask)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(state.grad is None or state.grad.isfinite().all() for state in states)


def test_head_ignores_padding_in_rows_without_tokens(variant: Variant) -> None:
    head = build_head(variant).eval()
    first, second = random_hidden_states(head, 2, 5), random_hidden_states(head, 2, 6)
    logits = compute_logits(head, first, torch.zeros(2, 5, dtype=torch.long))
    torch.testing.assert_close(compute_logits(head, second, torch.zeros(2, 6, dtype=torch.long)), logits)
    assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("seq", [1, 2])
def test_head_accepts_very_short_rows(variant: Variant, seq: int) -> None:
    head = build_head(variant)
    assert (
        compute_logits(head, random_hidden_states(head, 2, seq), torch.ones(2, seq, dtype=torch.long)).isfinite().all()
    )


def test_head_gives_similar_logits_in_bfloat16(variant: Variant) -> None:
    head = build_head(variant).eval()
    mask = (torch.arange(8) < torch.tensor([[8], [5], [0]])).long()
    expected = compute_logits(head, random_hidden_states(head, 3, 8), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = compute_logits(head, random_hidden_states(head, 3, 8), mask)
    pure = compute_logits(head.bfloat16(), random_hidden_states(head, 3, 8, torch.bfloat16), mask)
    assert mixed.dtype == torch.float32
    assert pure.dtype == torch.bfloat16
    for logits in (mixed, pure):
        assert logits.isfinite().all()
        assert (logits.float() - expected).abs().max() < 0.05 * expected.abs().max() + 0.02


def test_head_has_similar_gradients_in_bfloat16(variant: Variant) -> None:
    head, mask = build_head(variant).eval(), (torch.arange(8) < torch.tensor([[8], [5], [0]])).long()
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        states = [state.requires_grad_() for state in random_hidden_states(head, 3, 8)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = compute_logits(head, states, mask)
        logits.float().sum().backward()
        gradients.append(states[-1].grad)
    expected, rounded = gradients
    assert expected is not None
    assert rounded is not None
    # The tolerance is wide, because rounding may change which token has the maximum in max pooling.
    assert (rounded - expected).norm() < 0.25 * expected.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a CUDA device; none found")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_head_has_similar_gradients_on_a_gpu(variant: Variant, precision: torch.dtype) -> None:
    head, mask = build_head(variant).eval(), (torch.arange(8) < torch.tensor([[8], [5], [1]])).long()
    gradients = []
    for device in ("cpu", "cuda"):
        states = [state.to(device).requires_grad_() for state in random_hidden_states(head, 3, 8)]
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda" and precision == torch.bfloat16):
            logits = compute_logits(head.to(device), states, mask.to(device))
        (logits.float().sum() * 1e-6).backward()  # as small as the gradients of long rows, which underflow in float16
        assert states[-1].grad is not None
        gradients.append(states[-1].grad.cpu())
    expected, on_gpu = gradients
    assert (on_gpu - expected).norm() < (0.25 if precision == torch.bfloat16 else 0.02) * expected.norm()


def test_head_gives_the_same_logits_after_saving_and_loading(variant: Variant, tmp_path: Path) -> None:
    head, other_head = build_head(variant, seed=0).eval(), build_head(variant, seed=1).eval()
    states, mask = random_hidden_states(head, 2, 5), torch.ones(2, 5, dtype=torch.long)
    assert not torch.equal(compute_logits(head, states, mask), compute_logits(other_head, states, mask))
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    other_head.load_state_dict(load_file(tmp_path / "head.safetensors"), strict=True)
    assert torch.equal(compute_logits(head, states, mask), compute_logits(other_head, states, mask))


def test_head_has_only_persistent_buffers(variant: Variant) -> None:
    head = build_head(variant)
    assert {buffer_name for buffer_name, _ in head.named_buffers()} <= set(head.state_dict())


def test_head_initialisation_depends_only_on_the_seed(variant: Variant) -> None:
    first, second = build_head(variant, seed=3).state_dict(), build_head(variant, seed=3).state_dict()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


def test_head_initialises_all_parameters(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)  # fills new tensors with NaN
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all(), "the setting above has no effect"
        for parameter_name, parameter in build_head(variant).named_parameters():
            assert parameter.isfinite().all(), parameter_name
    finally:
        torch.use_deterministic_algorithms(False)


def test_head_does_not_branch_on_tensor_values(variant: Variant) -> None:
    """A head that accepts meta tensors, which have no values, never waits for the device or breaks a compiled graph."""
    head = build_head(variant).to("meta")
    states = [state.to("meta") for state in random_hidden_states(head, 2, 5)]
    assert compute_logits(head, states, torch.ones(2, 5, dtype=torch.long, device="meta")).shape == (2, NUM_LABELS)


def test_docstring_of_a_head_contains_its_source_and_options(name: str) -> None:
    docstring = inspect.getdoc(HEADS[name]) or ""
    assert "Source: " in docstring
    documented = {item.arg_name: item.description for item in docstring_parser.parse(docstring).params}
    hints = typing.get_type_hints(HEADS[name].__init__)
    parameters = inspect.signature(HEADS[name].__init__).parameters.values()
    options = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert set(documented) == {option.name for option in options}
    for option in options:
        assert documented[option.name], f"{name} does not document {option.name}"
        assert option.default is not option.empty
        assert option.name in hints


def test_head_drops_features_only_in_training_mode(variant: Variant) -> None:
    head = build_head(variant)
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    states, mask = random_hidden_states(head, 2, 5), torch.ones(2, 5, dtype=torch.long)
    assert not torch.equal(compute_logits(head, states, mask), compute_logits(head, states, mask))
    head.eval()
    assert torch.equal(compute_logits(head, states, mask), compute_logits(head, states, mask))


def test_head_rejects_unknown_options(name: str) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        HEADS[name](SPEC, NUM_LABELS, no_such_option=1)


def test_head_rejects_sizes_below_one(name: str) -> None:
    hints = typing.get_type_hints(HEADS[name].__init__)
    for option in (option for option, kind in hints.items() if kind is int and option != "num_labels"):
        for size in (0, -1):
            with pytest.raises(ValueError, match=rf"{option}\b.* {size}\.$"):
                HEADS[name](SPEC, NUM_LABELS, **{option: size})


def test_head_rejects_invalid_dropout_probabilities(name: str) -> None:
    for probability in (1.0, -0.1):
        with pytest.raises(ValueError, match=rf"dropout\b.* {probability}\.$"):
            HEADS[name](SPEC, NUM_LABELS, dropout=probability)

"""Requirements for every family of encoders that Midway knows; a new entry is tested automatically."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from research.model.adapter_targets import linear_layers
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import minilm
from research.model.families import (
    encoder_blocks,
    is_causal,
    longest_input,
    pads_left,
    positions_of,
    set_dropout,
)
from research.model.family import Positions
from research.model.family_table import FAMILIES
from tests.builders.tiny_families import PAD, VOCABULARY_SIZE, tiny_family_config, tiny_family_encoder

LENGTHS = (9, 5, 4)
PADDING_SENSITIVE = {"convbert", "mobilebert", "nystromformer", "yoso"}
"""Families whose hidden states depend on padding: EncoderCheck refuses them."""

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build_model(family: str) -> EncoderWithHead:
    """Return a tiny encoder of a family with a head that reads all tokens."""
    encoder = tiny_family_encoder(family)
    config = EncoderWithHeadConfig(
        encoder=encoder.config,
        head="mean",
        problem_type="single_label_classification",
        id2label={0: "a", 1: "b"},
        label2id={"a": 0, "b": 1},
    )
    return EncoderWithHead(config, encoder).eval()


def random_rows() -> list[Tensor]:
    """Return the token ids of a few rows, without padding."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(5, VOCABULARY_SIZE, (length,), generator=generator) for length in LENGTHS]


def pad(rows: list[Tensor], width: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Return padded token ids and the attention mask."""
    ids, mask = torch.full((len(rows), width), PAD), torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        positions = slice(width - len(row), width) if left else slice(len(row))
        ids[index, positions], mask[index, positions] = row, 1
    return ids, mask


@torch.no_grad()
def largest_change_by_padding(model: EncoderWithHead, *, left: bool) -> float:
    """Return the largest change of a token's hidden state by a padded batch, relative to the largest hidden state."""
    rows = random_rows()
    ids, mask = pad(rows, 16, left=left)
    batched = model.run_encoder(ids, mask, all_layers=False)
    assert isinstance(batched, Tensor)
    changes, sizes = [], []
    for index, row in enumerate(rows):
        alone = model.run_encoder(row[None], torch.ones(1, len(row), dtype=torch.long), all_layers=False)
        assert isinstance(alone, Tensor)
        changes.append(float((batched[index][mask[index].bool()] - alone[0]).abs().max()))
        sizes.append(float(alone.abs().max()))
    return max(changes) / max(sizes)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_row_in_a_padded_batch_equals_the_row_alone(family: str, side: str) -> None:
    if side == "left" and FAMILIES[family].positions is Positions.FROM_LEFT_END:
        pytest.skip(f"Midway pads {family} on the right")
    change = largest_change_by_padding(build_model(family), left=side == "left")
    if family in PADDING_SENSITIVE:
        assert change > 1e-2
    else:
        assert change < 1e-5


def test_padding_is_on_the_left_only_if_the_encoder_reads_it_correctly(family: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm(), padding_side="left")
    config = tiny_family_config(family)
    assert pads_left(config, tokenizer) is (positions_of(config) is not Positions.FROM_LEFT_END)
    tokenizer.padding_side = "right"
    assert not pads_left(config, tokenizer)


def test_blocks_contain_every_parameter_once(family: str) -> None:
    encoder = tiny_family_encoder(family)
    blocks = encoder_blocks(encoder)
    names = [name for _, parameters in blocks for name, _ in parameters]
    assert sorted(names) == sorted(name for name, _ in encoder.named_parameters())
    layers = ["layer.0"] if family == "albert" else ["layer.0", "layer.1"]
    assert [name for name, _ in blocks if name != "rest"] == ["embeddings", *layers]
    embeddings = [parameter for _, parameter in dict(blocks)["embeddings"]]
    assert any(parameter is encoder.get_input_embeddings().weight for parameter in embeddings)


def test_layers_contain_equally_many_weights_and_no_matrix_is_left_over(family: str) -> None:
    blocks = dict(encoder_blocks(tiny_family_encoder(family)))
    if family == "albert":
        return
    matrices = [sum(value.ndim > 1 for _, value in blocks[f"layer.{index}"]) for index in range(2)]
    assert min(matrices) >= 2, "a layer has attention and a feed-forward network"
    in_rest = {name for name, value in blocks.get("rest", []) if value.ndim > 1}
    known = ("rel_embeddings", "conv", "relative_attention_bias", "projection", "final_char_encoder", "mask_emb")
    unused = ("pooler", "contact_head", "entity_embeddings")
    assert not [name for name in in_rest if not any(part in name for part in (*known, *unused))]


def test_the_first_token_sees_the_last_one_unless_the_family_is_causal(family: str) -> None:
    model = build_model(family)
    row = random_rows()[0][None]
    changed = row.clone()
    changed[0, -1] = 5 if int(row[0, -1]) != 5 else 6
    mask = torch.ones_like(row)
    with torch.no_grad():
        before, after = (model.run_encoder(ids, mask, all_layers=False) for ids in (row, changed))
    assert isinstance(before, Tensor)
    assert isinstance(after, Tensor)
    difference = float((before[0, 0] - after[0, 0]).abs().max())
    if is_causal(model.config.encoder):
        assert difference < 1e-5
    else:
        assert difference > 1e-4


def test_all_parameters_get_a_gradient_and_all_layers_are_called_but_the_declared_ones(family: str) -> None:
    model = build_model(family).train()
    ids, mask = pad(random_rows(), 16, left=False)
    types = {"token_type_ids": torch.zeros_like(ids)} if family == "xlnet" else {}
    called: set[nn.Module] = set()
    for module in model.encoder.modules():
        module.register_forward_pre_hook(lambda module, _: called.add(module))
    model(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1, 0]), **types).loss.backward()
    for name, parameter in model.encoder.named_parameters():
        is_unused = parameter in model.unused_parameters
        assert is_unused is not parameter.requires_grad or not parameter.requires_grad, name
        assert (parameter.grad is None) is not parameter.requires_grad, name
    for name in linear_layers(model.encoder):
        layer = model.encoder.get_submodule(name)
        is_used = not model.unused_parameters & set(layer.parameters())
        assert (is_used and layer not in called) is (layer in model.uncalled_layers), name


def test_saved_model_has_the_same_logits_after_loading(family: str, tmp_path: Path) -> None:
    model = build_model(family)
    model.save_pretrained(tmp_path)
    loaded = EncoderWithHead.from_pretrained(tmp_path).eval()
    ids, mask = pad(random_rows(), 16, left=False)
    with torch.no_grad():
        expected, actual = (each(input_ids=ids, attention_mask=mask).logits for each in (model, loaded))
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    assert sorted(dict(loaded.named_parameters())) == sorted(dict(model.named_parameters()))


def test_hidden_states_of_all_layers_end_with_the_last_one(family: str) -> None:
    model = build_model(family)
    ids, mask = pad(random_rows(), 16, left=False)
    with torch.no_grad():
        states = model.run_encoder(ids, mask, all_layers=True)
        last = model.run_encoder(ids, mask, all_layers=False)
    assert len(states) == model.config.encoder.num_hidden_layers + 1
    torch.testing.assert_close(states[-1], last)
    assert all(state.shape == last.shape for state in states)  # type: ignore[union-attr]


def test_dropout_of_zero_makes_training_deterministic_and_one_half_makes_it_random(family: str) -> None:
    entry = FAMILIES[family]
    ids, mask = pad(random_rows(), 16, left=False)

    def difference(**probabilities: float | None) -> float:
        config = tiny_family_config(family)
        set_dropout(config, **({"dropout": 0.0, "attention_dropout": None} | probabilities))
        model = build_model(family)
        fresh = type(model)(EncoderWithHeadConfig(encoder=config, head="mean", num_labels=2))
        for module in fresh.encoder.modules():
            if isinstance(module, nn.Module):
                module.train()
        first, second = (fresh.run_encoder(ids, mask, all_layers=False) for _ in range(2))
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        return float((first - second).abs().max())

    none = {"attention_dropout": 0.0} if entry.attention_dropout is not None else {}
    assert difference(**none) < 1e-6
    if entry.dropout:
        assert difference(dropout=0.5, **none) > 0
    if entry.attention_dropout:
        assert difference(attention_dropout=0.5) > 0


def test_longest_input_is_accepted(family: str) -> None:
    model = build_model(family)
    longest = longest_input(model.config.encoder)
    if longest is None:
        return
    ids = torch.randint(5, VOCABULARY_SIZE, (1, longest), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = model.run_encoder(ids, torch.ones_like(ids), all_layers=False)
    assert isinstance(states, Tensor)
    assert states.shape[1] == longest
    assert states.isfinite().all()


def test_joined_states_of_windows_equal_those_of_each_window_alone(family: str) -> None:
    if family in PADDING_SENSITIVE:
        pytest.skip("depends on padding")
    model = build_model(family)
    model.config.windows = {"stride": 4, "max_windows": 3, "batch_size": 2}
    long, short, _ = random_rows()
    ids, mask = pad([long, short], 12, left=False)
    windows = torch.tensor([[[1, 6], [5, 8]], [[1, 4], [-1, -1]]])  # the first and the last token are special
    joined = model.run_encoder(ids, mask, windows=windows, all_layers=False)
    assert isinstance(joined, Tensor)

    def run(*positions: int) -> Tensor:
        states = model.run_encoder(long[list(positions)][None], torch.ones(1, len(positions)).long(), all_layers=False)
        assert isinstance(states, Tensor)
        return states[0]

    first, second = run(0, 1, 2, 3, 4, 5, 8), run(0, 5, 6, 7, 8)
    expected = [(first[0] + second[0]) / 2, *first[1:6], *second[2:4], (first[6] + second[4]) / 2]
    torch.testing.assert_close(joined[0, :9], torch.stack(expected), atol=1e-4, rtol=1e-3)
    assert not joined[0, 9:].any()
    alone = model.run_encoder(short[None], torch.ones(1, len(short)).long(), all_layers=False)
    torch.testing.assert_close(joined[1, :5], alone[0], atol=1e-4, rtol=1e-3)

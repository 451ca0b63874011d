"""Models are built from settings: direction of attention, padding token, implementation of attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, M2M100Config

from research.model.build_model import build_model
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_tokenizer, minilm
from research.model.families import disable_layerdrop
from research.settings.config import RunConfig
from research.tasks.single_label import SingleLabel
from tests.builders.tiny_families import tiny_family_encoder

TASK = SingleLabel(("negative", "positive"))


@pytest.fixture
def save_encoder(tmp_path: Path) -> Any:
    """Return a function that saves a tiny encoder of a family with MiniLM's tokenizer, and returns its folder."""

    def save(family: str, **tokenizer_changes: Any) -> str:
        tokenizer = AutoTokenizer.from_pretrained(minilm(), **tokenizer_changes)
        tokenizer.save_pretrained(tmp_path)
        tiny_family_encoder(family, vocab_size=len(tokenizer), pad_token_id=0).save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def build(encoder: str, **settings: Any) -> EncoderWithHead:
    config = RunConfig(**{"encoder": encoder, "head": "mean", "max_length": 32, **settings})
    return build_model(config, TASK).eval()


def hidden_states(model: EncoderWithHead, ids: Tensor, mask: Tensor) -> Tensor:
    with torch.no_grad():
        states = model.run_encoder(ids, mask, all_layers=False)
    assert isinstance(states, Tensor)
    return states


@pytest.mark.parametrize("num_padding", [0, 3])
def test_bidirectional_encoder_equals_one_with_an_explicit_mask(save_encoder: Any, num_padding: int) -> None:
    folder = save_encoder("llama")
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if num_padding:
        mask[1, -num_padding:] = 0
    bidirectional = build(folder, bidirectional=True)
    causal = build(folder)
    allowed = mask[:, None, None, :].bool().expand(2, 1, 9, 9)  # [batch, 1, query, key]
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        expected = causal.encoder(input_ids=ids, attention_mask=allowed, position_ids=positions).last_hidden_state
    actual = hidden_states(bidirectional, ids, mask)
    torch.testing.assert_close(actual[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-5)
    difference = (actual - hidden_states(causal, ids, mask)).abs().max()
    assert difference > 0.01


def test_bidirectional_encoder_stays_so_after_saving_and_loading(save_encoder: Any, tmp_path: Path) -> None:
    model = build(save_encoder("qwen3"), bidirectional=True, head="linear")
    model.save_pretrained(tmp_path / "model")
    loaded = EncoderWithHead.from_pretrained(tmp_path / "model").eval()
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    expected, actual = (hidden_states(each, ids, torch.ones_like(ids)) for each in (model, loaded))
    assert torch.equal(actual, expected)
    assert loaded.config.encoder.is_causal is False


@pytest.mark.parametrize(("family", "message"), [("bert", "'bert'.*anyway"), ("mamba", "'mamba'.*later tokens")])
def test_bidirectional_is_refused_where_it_changes_nothing_or_is_impossible(
    save_encoder: Any, family: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(save_encoder(family), bidirectional=True)


def test_head_of_the_first_token_is_refused_on_a_causal_encoder(save_encoder: Any) -> None:
    folder = save_encoder("llama")
    with pytest.raises(ValueError, match=r"'linear'.*causal.*--head last"):
        build(folder, head="linear")
    with pytest.raises(ValueError, match=r"'mlp'.*causal"):
        build(folder, head="mlp")
    assert build(folder, head="linear", bidirectional=True).config.head == "linear"


def test_new_padding_token_gets_an_embedding_that_is_saved(save_encoder: Any, tmp_path: Path) -> None:
    folder = save_encoder("llama")
    tokenizer = load_tokenizer(folder, "<padding>")
    config = RunConfig(encoder=folder, head="last", max_length=32, pad_token="<padding>")
    size = len(tokenizer)
    model = build_model(config, TASK, vocabulary_size=size)
    assert tokenizer.pad_token == "<padding>"
    assert tokenizer.pad_token_id == size - 1
    assert model.config.encoder.vocab_size == size
    assert model.encoder.get_input_embeddings().num_embeddings == size
    model.save_pretrained(tmp_path / "model")
    assert EncoderWithHead.from_pretrained(tmp_path / "model").get_input_embeddings().weight.shape[0] == size


def test_existing_token_as_padding_token_adds_no_embedding(save_encoder: Any) -> None:
    folder = save_encoder("llama")
    tokenizer = load_tokenizer(folder, "[UNK]")
    model = build_model(
        RunConfig(encoder=folder, head="last", max_length=32, pad_token="[UNK]"), TASK, vocabulary_size=len(tokenizer)
    )
    assert tokenizer.pad_token_id == tokenizer.unk_token_id
    assert model.config.encoder.vocab_size == len(AutoTokenizer.from_pretrained(minilm()))


def test_resized_model_can_be_saved_and_loaded(save_encoder: Any, tmp_path: Path) -> None:
    model = build(save_encoder("bert"))
    size = model.config.encoder.vocab_size + 3
    assert model.resize_token_embeddings(size, mean_resizing=False).num_embeddings == size
    assert model.config.encoder.vocab_size == size
    model.save_pretrained(tmp_path / "model")
    assert EncoderWithHead.from_pretrained(tmp_path / "model").config.encoder.vocab_size == size


def test_attention_is_implemented_as_requested(save_encoder: Any) -> None:
    folder = save_encoder("llama")
    assert build(folder, attn_implementation="eager").encoder.config._attn_implementation == "eager"
    assert build(folder).encoder.config._attn_implementation == "sdpa"


def test_unsupported_implementations_of_attention_are_refused(save_encoder: Any) -> None:
    with pytest.raises(ValueError, match=r"--attn_implementation sdpa"):
        build(save_encoder("deberta-v2"), attn_implementation="sdpa")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"flex_attention .*GPU"):
            build(save_encoder("llama"), attn_implementation="flex_attention")


def test_longest_input_limits_max_length(save_encoder: Any) -> None:
    folder = save_encoder("camembert")  # 40 positions, of which the first is reserved for the padding token 0
    with pytest.raises(ValueError, match=r"max_length .*39.*40"):
        build(folder, max_length=40)
    assert build(folder, max_length=39).config.max_input_length == 39


def test_layers_are_not_skipped_at_random(save_encoder: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = save_encoder("opt")
    path = Path(folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layerdrop": 1.0}))
    model = build(folder, dropout=0.0, attention_dropout=0.0)
    assert "LayerDrop (layerdrop) is set from 1 to 0" in caplog.text
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    in_evaluation = hidden_states(model, ids, torch.ones_like(ids))
    assert torch.equal(hidden_states(model.train(), ids, torch.ones_like(ids)), in_evaluation)


def test_layerdrop_of_encoder_decoders_is_disabled() -> None:
    config = M2M100Config()
    assert config.encoder_layerdrop > 0
    disable_layerdrop(config)
    assert config.encoder_layerdrop == 0

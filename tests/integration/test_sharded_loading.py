"""With --shard, no process holds a whole model while it is loaded, and the weights are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel

from research.model.encoder_classes import auto_class
from tests.builders.tiny_families import TINY_FAMILIES, tiny_family_config
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

pytestmark = pytest.mark.sharding
SCRIPT = ROOT / "tests" / "launched" / "loading_by_processes.py"
FAMILIES = ("albert", "bart", "bert", "gte", "mixtral")
"""Shared layers, an encoder-decoder, bf16 in the file, queries, keys and values in one matrix, and experts."""
REFUSED = ("rwkv", "squeezebert")
"""Families that cannot be split, which tests/research/training/wrapping/test_fsdp2.py shows."""


def save_encoder(parent: Path, family: str) -> Path:
    """Save a tiny encoder, of an encoder-decoder the whole model; return its folder."""
    torch.manual_seed(0)
    config = tiny_family_config(family)
    model = auto_class(config).from_config(config)
    (model.bfloat16() if family == "bert" else model).save_pretrained(parent / family)
    return parent / family


@pytest.fixture(scope="module")
def found(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What the script wrote on each of two processes."""
    folder = tmp_path_factory.mktemp("loading")
    folders = [save_encoder(folder, family) for family in FAMILIES]
    large = BertConfig(vocab_size=50, num_hidden_layers=6, hidden_size=768, intermediate_size=3072)
    BertModel(large, add_pooling_layer=False).bfloat16().save_pretrained(folder / "large")
    inputs = ["--encoder", tiny_encoder, "--data", tiny_reviews]
    short = ["--max_steps", "1", "--save_every", "1st", "--max_length", "32", "--report", "false"]
    launch([*inputs, *short, "--output_dir", folder / "saved"])
    options = ["--saved_run", folder / "saved", "--large", folder / "large", "--output", folder / "found"]
    launch([*inputs, *options, "--folders", *folders], num_processes=2, script=str(SCRIPT))
    return read_by_rank(folder / "found", 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_loaded_in_parts_equals_the_whole_one(found: list[dict[str, Any]], family: str) -> None:
    check_equal(found, family)


def check_equal(found: list[dict[str, Any]], family: str) -> None:
    """Check that an encoder has the same weights and hidden states if it is loaded in parts, on every process."""
    for process in found:
        whole, parts = process["encoders"][family]["hashes"]
        assert parts == whole, family
        assert process["encoders"][family]["difference"] < 1e-5, family


def test_only_weights_that_are_computed_from_others_are_loaded_whole(found: list[dict[str, Any]]) -> None:
    split = {family: encoder["split"] for family, encoder in found[0]["encoders"].items()}
    names = dict(AutoModel.from_config(tiny_family_config("mixtral")).named_parameters())
    assert split["mixtral"] == [*names]
    assert not any("q_proj" in name for name in split["gte"])
    assert "layers.0.self_attn.o_proj.weight" in split["gte"]


@pytest.mark.slow
def test_all_families_can_be_split(launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path) -> None:
    families = [family for family in TINY_FAMILIES if family not in REFUSED]
    folders = [save_encoder(tmp_path, family) for family in families]
    inputs = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", tmp_path / "found"]
    launch([*inputs, "--folders", *folders], num_processes=2, script=str(SCRIPT))
    for family in families:
        check_equal(read_by_rank(tmp_path / "found", 2), family)


@pytest.mark.parametrize("settings", ["plain", "with a new token", "from a saved model", "from a checkpoint"])
def test_split_and_whole_runs_start_with_the_same_weights(found: list[dict[str, Any]], settings: str) -> None:
    (hashes, others) = (process["runs"][settings] for process in found)
    assert hashes == others
    assert hashes[0] == hashes[1]


def test_each_process_holds_only_its_part_of_a_loaded_model(found: list[dict[str, Any]]) -> None:
    for process in found:
        assert process["memory"]["whole"] > 0.7, process["memory"]
        assert process["memory"]["parts"] < 0.6, process["memory"]

"""With --shard, no process holds a whole model while it is loaded, and the weights are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel

from tests.builders.tiny_families import tiny_family_config
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank

pytestmark = pytest.mark.sharding
SCRIPT = ROOT / "tests" / "launched" / "loading_by_processes.py"
FAMILIES = ("albert", "bart", "bert", "gte", "mixtral")
"""Shared layers, an encoder-decoder, bf16 in the file, queries, keys and values in one matrix, and experts."""


@pytest.fixture(scope="module")
def found(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What the script wrote on each of two processes."""
    folder = tmp_path_factory.mktemp("loading")
    for family in FAMILIES:
        torch.manual_seed(0)
        encoder = AutoModel.from_config(tiny_family_config(family))
        (encoder.bfloat16() if family == "bert" else encoder).save_pretrained(folder / family)
    large = BertConfig(vocab_size=50, num_hidden_layers=6, hidden_size=768, intermediate_size=3072)
    BertModel(large, add_pooling_layer=False).bfloat16().save_pretrained(folder / "large")
    inputs = ["--encoder", tiny_encoder, "--data", tiny_reviews]
    launch([*inputs, "--max_steps", "1", "--max_length", "32", "--report", "false", "--output_dir", folder / "saved"])
    options = ["--init_from", folder / "saved" / "model", "--large", folder / "large", "--output", folder / "found"]
    folders = [folder / family for family in FAMILIES]
    launch([*inputs, *options, "--folders", *folders], num_processes=2, script=str(SCRIPT))
    return read_by_rank(folder / "found", 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_loaded_in_parts_has_the_weights_of_the_whole_one(found: list[dict[str, Any]], family: str) -> None:
    for process in found:
        whole, parts = process["encoders"][family]
        assert parts == whole


def test_only_weights_that_are_computed_from_others_are_loaded_whole(found: list[dict[str, Any]]) -> None:
    split = found[0]["split"]
    names = dict(AutoModel.from_config(tiny_family_config("mixtral")).named_parameters())
    assert split["mixtral"] == [*names]
    assert not any("q_proj" in name for name in split["gte"])
    assert "layers.0.self_attn.o_proj.weight" in split["gte"]


@pytest.mark.parametrize("settings", ["plain", "with a new token", "from a saved model"])
def test_split_and_whole_runs_start_with_the_same_weights(found: list[dict[str, Any]], settings: str) -> None:
    (hashes, others) = (process["runs"][settings] for process in found)
    assert hashes == others
    assert hashes[0] == hashes[1]


def test_each_process_holds_only_its_part_of_a_loaded_model(found: list[dict[str, Any]]) -> None:
    for process in found:
        assert process["memory"]["whole"] > 0.7
        assert process["memory"]["parts"] < 0.6

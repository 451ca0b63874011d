"""The model and its tokenizer are saved together in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from torch import Tensor, nn
from transformers import AutoTokenizer

from heads import EncoderSpec, Head, register_head
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_tokenizer
from research.records.results import weights_sha256
from research.system.durable import StorageError
from research.training.model_files import save_model
from tests.research.conftest import StartRun
from tests.research.model.tiny_encoders import tiny_model


def test_saved_model_is_complete_and_replaces_an_older_model(tiny_encoder: Path, tmp_path: Path) -> None:
    model, tokenizer = tiny_model("bert"), load_tokenizer(str(tiny_encoder))
    model.config.max_input_length = 24
    for _ in range(2):
        (tmp_path / ".model.writing").mkdir()  # left by a killed process
        (tmp_path / ".model.writing" / "stale.txt").touch()
        model.get_parameter("head.out.bias").data.add_(1)
        save_model(model, tokenizer, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "stale.txt").exists()
    assert weights_sha256(EncoderWithHead.from_pretrained(tmp_path / "model")) == weights_sha256(model)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length == 24
    assert json.loads((tmp_path / "model" / "config.json").read_text())["max_input_length"] == 24


def test_save_model_keeps_the_older_model_if_the_disk_fails(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny_model("bert"), load_tokenizer(str(tiny_encoder))
    save_model(model, tokenizer, tmp_path / "model")
    before = weights_sha256(model)

    def raise_disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    model.get_parameter("head.out.bias").data.add_(1)
    with pytest.raises(StorageError, match=rf"{tmp_path}/model: .*No space left on device"):
        save_model(model, tokenizer, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert weights_sha256(EncoderWithHead.from_pretrained(tmp_path / "model")) == before


@register_head("twice")
class TwiceHead(Head):
    """A head that applies the same layer twice, under two names."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.first = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.second = self.first
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.out(self.second(self.first(hidden_states))[:, 0])
        return logits


@pytest.mark.sharding
@pytest.mark.parametrize("head", ["linear", "twice"])
def test_saved_split_model_equals_an_unsplit_one(start_run: StartRun, head: str) -> None:
    folders = []
    for shard in (None, "fsdp2"):
        run = start_run(shard=shard, head=head)
        run.save_model(run.directory / "model")
        assert [path.name for path in run.directory.glob(".*")] == []
        folders.append({path.name: path.read_bytes() for path in (run.directory / "model").iterdir()})
    assert folders[0] == folders[1]

"""The model and its tokenizer in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoTokenizer

from research.model.encoder_with_head import EncoderWithHead
from research.records.results import weights_sha256
from research.training.model_files import save_model
from tests.research.conftest import StartRun


def test_saved_model_is_complete_and_replaces_an_older_one(start_run: StartRun, tmp_path: Path) -> None:
    run = start_run()
    for _ in range(2):
        run.encoder_with_head.get_parameter("head.out.bias").data.add_(1)
        save_model(run.encoder_with_head, run.tokenizer, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "model"))] == ["model"]
    saved = EncoderWithHead.from_pretrained(tmp_path / "model")
    assert weights_sha256(saved) == weights_sha256(run.encoder_with_head)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length == 32
    assert json.loads((tmp_path / "model" / "config.json").read_text())["max_input_length"] == 32

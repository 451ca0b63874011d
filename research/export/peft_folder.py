"""Write adapters and head into a folder that PEFT loads onto the plain encoder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig
from safetensors.torch import save

from research.export.card_metadata import CardFacts
from research.export.exported_logits import check_difference, compute_logits, sample_rows
from research.export.hub_folder import write_code, write_config, write_tokenizer
from research.export.isolated_process import BASE, run_isolated
from research.export.model_card import PLACEHOLDER
from research.inference.saved_model import SavedModel
from research.model.adapters import name_without_adapters
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import find_encoder_folder, load_encoder
from research.model.selectors import ADAPTER
from research.system.manifest import file_sha256

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""PEFT's prefix of the names in an adapter's file."""
_ADAPTER = ".default"
"""Name of the adapter in the model, which the file does not contain."""
_SCRIPT = Path(__file__).with_name("classify_with_peft.py")
_NUM_TOKENS = (1, 2, 7, 25)


@dataclass(frozen=True)
class PlainEncoder:
    """The encoder that adapters were trained for."""

    name: str
    """Its name for a reader: that on the Hub, or the name of its folder."""
    folder: Path
    """Its folder on this machine."""


def find_plain_encoder(model: EncoderWithHead) -> PlainEncoder:
    """Return the encoder of a model with adapters, after checking that training changed none of its own weights.

    Raises:
        ValueError: if the encoder is not found, or a weight has changed.
    """
    assert model.config.encoder is not None
    name = model.config.encoder.name_or_path
    weights = {
        name_without_adapters(key): value
        for key, value in model.encoder.state_dict().items()
        if ADAPTER.search(key) is None
    }
    original = load_encoder(name).state_dict()
    changed = [
        key
        for key in sorted(weights.keys() | original.keys())
        if key not in weights or key not in original or not torch.equal(weights[key], original[key])
    ]
    if changed:
        raise ValueError(
            f"Adapters alone do not describe this model: training also changed {len(changed)} of the encoder's "
            f"{len(original)} weights ({', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}). Export it with "
            "--format hub, or as a plain model with --merge."
        )
    folder = find_encoder_folder(name)
    return PlainEncoder(Path(name).name if Path(name).is_dir() else name, folder)


def write_peft_folder(saved: SavedModel, folder: Path, encoder: PlainEncoder) -> list[str]:
    """Write the adapters, the head, its code and the tokenizer.

    Args:
        saved: the trained model, with adapters.
        folder: an empty folder.
        encoder: the plain encoder.
    Returns:
        The distributions that the head and the cleaning steps need in addition to PEFT, Transformers and PyTorch.
    Raises:
        ValueError: if the code of the head or of a cleaning step cannot be copied.
    """
    config = saved.model.config
    assert config.adapters is not None
    LoraConfig(
        base_model_name_or_path=encoder.name,
        target_modules=[f"encoder.{name}" for name in config.adapters["targets"]],
        r=config.adapters["r"],
        lora_alpha=config.adapters["alpha"],
        lora_dropout=config.adapters["dropout"],
        modules_to_save=["head"],
        inference_mode=True,
    ).save_pretrained(str(folder))
    (folder / _WEIGHTS).write_bytes(save(adapter_weights(saved.model), metadata={"format": "pt"}))
    write_config(saved, saved.model, folder)
    write_tokenizer(saved, folder)
    return write_code(saved, folder)


def adapter_weights(model: EncoderWithHead) -> dict[str, torch.Tensor]:
    """Return the adapters, the head and the affine map of the logits, by their names in an adapter's file."""
    names = {
        name: name.replace(_ADAPTER, "") if ADAPTER.search(name) else name
        for name in model.state_dict()
        if ADAPTER.search(name) or not name.startswith("encoder.")
    }
    state = model.state_dict()
    # Copies, because a file cannot contain two tensors that share memory, such as tied weights of a head.
    return {f"{_PREFIX}{new}": state[name].detach().clone().contiguous() for name, new in names.items()}


def check_peft_folder(saved: SavedModel, folder: Path, encoder: PlainEncoder, requirements: Iterable[str]) -> float:
    """Compute logits with PEFT in a process that cannot import Midway, and return their largest difference.

    Raises:
        ValueError: if the folder does not load, or the logits differ by more than rounding explains.
    """
    longest = saved.model.config.max_input_length
    rows = sample_rows(saved, [*_NUM_TOKENS, longest, 2 * longest + 5])
    request = {"texts": rows, "encoder": str(encoder.folder), "num_threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory(prefix="midway-export-") as temporary:
        file = Path(temporary, "texts.json")
        file.write_text(json.dumps(request), encoding="utf-8")
        run_isolated(_SCRIPT, [str(folder), str(file)], [*BASE, "peft", *requirements])
        logits = json.loads(file.read_text(encoding="utf-8"))
    return check_difference(np.asarray(logits), compute_logits(saved, saved.model, rows), "with PEFT")


def describe_use(facts: CardFacts, encoder: PlainEncoder) -> Iterator[str]:
    """Yield the paragraphs of the model card that show how to load the folder."""
    yield "## Use"
    packages = ", ".join(f"`{name}`" for name in ["peft", "transformers", "torch", *facts.requirements])
    yield (
        f"This folder contains low-rank adapters (LoRA) and the head, but not the encoder `{encoder.name}`, whose "
        f"weights are unchanged (SHA-256 of its file: {_encoder_hash(encoder)}). It needs the packages {packages}. "
        "With `trust_remote_code=True`, Transformers runs the code of the head, which is in the folder; read it first."
    )
    yield f"```python\n{example(facts, encoder)}\n```"
    yield "The tokenizer does not truncate: the model does, as in training."


def example(facts: CardFacts, encoder: PlainEncoder) -> str:
    """Return Python code that loads the folder and computes the scores of a text."""
    has_pairs = facts.saved.inputs.has_pairs
    texts = '["the first text"], ["the second text"]' if has_pairs else '["a text"]'
    if facts.saved.inputs.cleaning:
        texts = texts.replace('["', '[base.clean("').replace('"]', '")]')
    scores = {
        "single_label_classification": "logits.softmax(dim=-1)",
        "multi_label_classification": "logits.sigmoid()",
        "regression": "logits",
    }[str(facts.model.config.problem_type)]
    return "\n".join(
        [
            "import torch",
            "from peft import PeftModel",
            "from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer\n",
            f'folder, encoder = "{PLACEHOLDER}", "{encoder.name}"',
            "config = AutoConfig.from_pretrained(folder, trust_remote_code=True)",
            "base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)",
            "base.encoder = AutoModel.from_pretrained(encoder, dtype=torch.float32)",
            "model = PeftModel.from_pretrained(base, folder).eval()",
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
            f'inputs = tokenizer({texts}, return_tensors="pt")',
            "with torch.no_grad():",
            "    logits = model(**inputs).logits",
            f"print(config.id2label, {scores})",
        ]
    )


def _encoder_hash(encoder: PlainEncoder) -> str:
    return ", ".join(f"`{file_sha256(path)}`" for path in sorted(encoder.folder.glob("*.safetensors")))

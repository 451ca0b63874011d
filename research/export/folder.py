"""The files of an ONNX or torch export, except for the model itself."""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from research.export.exported_logits import sample_rows
from research.export.hub_folder import exported_inputs, write_tokenizer
from research.inference.saved_model import SavedModel
from research.inference.scorer import Scorer
from research.model.saved_models import EXPORT_RECORD
from research.system.paths import without_folders


def write_files(saved: SavedModel, folder: Path, readme: str) -> None:
    """Write config.json, the tokenizer and README.md.

    config.json lacks what would make Transformers look for a model in the folder: then even its tokenizer classes warn.

    Args:
        saved: the model.
        folder: an empty folder.
        readme: content of README.md.
    Raises:
        ValueError: if the tokenizer cannot add the model's template by itself.
    """
    config = copy.deepcopy(saved.model.config)
    config.adapters = None  # they are merged
    config.inputs = exported_inputs(saved)
    config.encoder.name_or_path = without_folders(config.encoder.name_or_path or "")
    content = json.loads(config.to_json_string())
    for name in ("architectures", "auto_map", "model_type"):
        content.pop(name, None)
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(saved, folder)
    if saved.inputs.template is not None:
        _check_tokenizer(saved, folder)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _check_tokenizer(saved: SavedModel, folder: Path) -> None:
    """Check that the written tokenizer puts texts into the model's template.

    Raises:
        ValueError: if it gives other tokens than the trained model reads.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scorer = Scorer(saved, device=torch.device("cpu"))
    longest = saved.model.config.max_input_length - len(saved.collator.special_tokens)
    for row in sample_rows(saved, sorted({1, 2, min(25, longest), longest})):
        inputs = scorer.collate(scorer.tokenize([row]), [0]).inputs
        expected = inputs["input_ids"][inputs["attention_mask"] == 1].tolist()
        if tokenizer(*row)["input_ids"] != expected:
            raise ValueError(
                f"The exported tokenizer does not add the template '{saved.inputs.template}' as in training: it gives "
                f"other tokens for the text {row[0]!r:.80}. Nothing was written."
            )


def write_facts(folder: Path, libraries: tuple[str, ...], facts: dict[str, Any]) -> None:
    """Write facts about an export, and the versions of the libraries that wrote it, into export.json."""
    versions = {library: version(library) for library in libraries}
    (folder / EXPORT_RECORD).write_text(json.dumps({**facts, "versions": versions}, indent=2) + "\n", encoding="utf-8")

"""Export a model as a program of torch.export, which needs only PyTorch to run."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from research.export.agreement import check_agreement
from research.export.example import input_names
from research.export.folder import write_facts, write_files
from research.export.readme import readme
from research.export.recurrent import use_torch_operations
from research.export.trace import quiet_export, trace
from research.inference.saved_model import SavedModel

PROGRAM = "model.pt2"


def write_torch_program(saved: SavedModel, folder: Path) -> float:
    """Write a model as model.pt2, with its tokenizer, config.json and README.md, and check the result.

    Args:
        saved: the model, on the CPU.
        folder: an empty folder.
    Returns:
        Largest difference between the logits of model.pt2 and of the model (see `check_agreement`).
    Raises:
        ValueError: if torch.export cannot trace the model, or logits differ.
    """
    program = trace(saved)
    use_torch_operations(program)
    names = input_names(saved)
    text = readme(
        saved,
        libraries="torch and transformers",
        imports="import torch",
        load=f'model = torch.export.load("{PROGRAM}").module()',
        logits=f"inputs = {{name: torch.tensor(encoded[name]) for name in {names}}}\n"
        "logits = model(**inputs).detach().numpy()",
    )
    write_files(saved, folder, text)
    with quiet_export():
        # In memory first: if writing to a file fails, torch raises an error, and then aborts the process.
        content = io.BytesIO()
        torch.export.save(program, content)
        (folder / PROGRAM).write_bytes(content.getbuffer())
        loaded = torch.export.load(folder / PROGRAM).module()
        largest = check_agreement(saved, lambda inputs: loaded(**inputs).numpy())
    write_facts(folder, ("torch", "transformers"), {"inputs": names, "largest_difference": largest})
    return largest

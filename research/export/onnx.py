"""Export a model to ONNX, for runtimes without PyTorch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram

from research.export.agreement import check_agreement
from research.export.example import input_names, random_inputs
from research.export.folder import write_facts, write_files
from research.export.int8 import Comparison, compare_metrics, quantize
from research.export.labelled_texts import LabelledTexts
from research.export.onnx_libraries import LIBRARIES
from research.export.onnx_session import OnnxSession
from research.export.readme import readme
from research.export.recurrent import onnx_translations
from research.export.trace import DIMENSIONS, EXAMPLE_SIZE, quiet_export, trace
from research.inference.saved_model import SavedModel
from research.system.waiting import WaitingMessage

MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
_LARGEST_FILE = 2_000_000_000
"""Bytes of weights above which they are in a file of their own, model.onnx.data: ONNX files hold at most 2 GB."""


@dataclass(frozen=True)
class OnnxExport:
    """The result of an export."""

    largest_difference: float
    """Largest difference between the logits of model.onnx and of the model (see `check_agreement`)."""
    int8: Comparison | None
    """Metrics before and after quantisation; None if there is no quantised model."""


def write_onnx(saved: SavedModel, folder: Path, *, int8: LabelledTexts | None = None) -> OnnxExport:
    """Write a model as model.onnx, with its tokenizer, config.json and README.md, and check the result.

    Args:
        saved: the model, on the CPU.
        folder: an empty folder.
        int8: labelled texts; if given, a quantised model, model.int8.onnx, is written too and compared on them.
    Raises:
        ValueError: if the model cannot be exported, or logits differ.
    """
    program = trace(saved)
    text = readme(
        saved,
        libraries="onnxruntime and transformers",
        imports="import onnxruntime",
        load=f'session = onnxruntime.InferenceSession("{MODEL}")',
        logits="inputs = {each.name: encoded[each.name] for each in session.get_inputs()}\n"
        'logits = session.run(["logits"], inputs)[0]',
    )
    write_files(saved, folder, text)
    with quiet_export(), WaitingMessage("Translating the model to ONNX"):
        _translate(program, saved, folder / MODEL)
    session = OnnxSession(folder / MODEL)
    largest = check_agreement(saved, session)
    comparison = None
    if int8 is not None:
        with WaitingMessage("Quantising the model"):
            quantize(folder / MODEL, folder / INT8_MODEL)
        comparison = compare_metrics(saved, int8, session, OnnxSession(folder / INT8_MODEL))
    export = OnnxExport(largest, comparison)
    write_facts(folder, ("torch", "transformers", *LIBRARIES), {"inputs": input_names(saved), **asdict(export)})
    return export


def _translate(program: ExportedProgram, saved: SavedModel, path: Path) -> None:
    """Write a traced model as an ONNX file with the output `logits`.

    Raises:
        ValueError: if an operation has no ONNX translation.
    """
    inputs = random_inputs(saved, *EXAMPLE_SIZE)
    try:
        torch.onnx.export(
            program,
            (),
            path,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes={name: dict(enumerate(DIMENSIONS)) for name in inputs},
            custom_translation_table=onnx_translations(),
            external_data=sum(value.nbytes for value in program.state_dict.values()) > _LARGEST_FILE,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f"The model with the head '{saved.model.config.head}' contains an operation that torch.onnx cannot "
            f"translate: {_root_cause(error)}"
        ) from error


def _root_cause(error: BaseException) -> str:
    """Return the message of an error's first cause. torch.onnx names the operation only there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)

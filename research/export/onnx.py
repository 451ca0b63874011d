"""Export a model to ONNX, for runtimes without PyTorch."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram

from research.export.agreement import check_agreement
from research.export.example import input_names, random_inputs
from research.export.folder import check_new_folder, new_folder, write_facts
from research.export.int8 import Comparison, LabelledTexts, compare_metrics, quantize
from research.export.onnx_session import OnnxSession
from research.export.readme import readme
from research.export.recurrent import onnx_translations
from research.export.trace import DIMENSIONS, EXAMPLE_SIZE, quiet_export, trace
from research.inference.saved_model import SavedModel
from research.system.waiting import WaitingMessage

MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
_LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST_FILE = 2_000_000_000
"""Bytes of weights above which they are in a file of their own, model.onnx.data: ONNX files hold at most 2 GB."""


@dataclass(frozen=True)
class OnnxExport:
    """The result of an export."""

    largest_difference: float
    """Largest difference between the logits of model.onnx and of the model (see `check_agreement`)."""
    int8: Comparison | None
    """Metrics before and after quantisation; None if there is no quantised model."""


def check_onnx_libraries() -> None:
    """Check that the libraries for an export are installed.

    Raises:
        ValueError: if one is missing; the message contains the command that installs it.
    """
    for library in _LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise ValueError(
                f'Exporting to ONNX requires the package {library}; install it with: pip install "midway[onnx]"'
            )


def export_onnx(saved: SavedModel, folder: Path, *, int8: LabelledTexts | None = None) -> OnnxExport:
    """Write a model as model.onnx, with its tokenizer, config.json and README.md, and check the result.

    Args:
        saved: the model, on the CPU.
        folder: folder to write; must not exist, or be empty.
        int8: labelled texts; if given, a quantised model, model.int8.onnx, is written too and compared on them.
    Raises:
        ValueError: if the folder contains files, a library is missing, the model cannot be exported, or logits differ.
        StorageError: if the disk is full or cannot be written to.
    """
    check_onnx_libraries()
    check_new_folder(folder)
    program = trace(saved)
    text = readme(
        saved,
        libraries="onnxruntime and transformers",
        imports="import onnxruntime",
        load=f'session = onnxruntime.InferenceSession("{MODEL}")',
        logits="inputs = {each.name: encoded[each.name] for each in session.get_inputs()}\n"
        'logits = session.run(["logits"], inputs)[0]',
    )
    with new_folder(saved, folder, text) as temporary:
        with quiet_export(), WaitingMessage("Translating the model to ONNX"):
            _translate(program, saved, temporary / MODEL)
        session = OnnxSession(temporary / MODEL)
        largest = check_agreement(saved, session)
        comparison = None
        if int8 is not None:
            with WaitingMessage("Quantising the model"):
                quantize(temporary / MODEL, temporary / INT8_MODEL)
            comparison = compare_metrics(saved, int8, session, OnnxSession(temporary / INT8_MODEL))
        export = OnnxExport(largest, comparison)
        write_facts(
            temporary,
            ("torch", "transformers", *_LIBRARIES),
            {"format": "onnx", "inputs": input_names(saved), **asdict(export)},
        )
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

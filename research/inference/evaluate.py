"""Command line of evaluate.py, which evaluates a trained model on other labelled data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.data.sources.encodings import check_encoding
from research.inference.evaluation_folder import check_output, output_folder
from research.model.saved_models import find_trained_model
from research.settings.config import LARGEST_SEED
from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings, model_program, run_model_script
from research.system.loading import loading_libraries
from research.system.paths import expand_path
from research.system.waiting import WaitingMessage


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(ModelScriptSettings):
    """Evaluation"""

    data: str = setting("", effect=Effect.INVOCATION, input_path=str)
    """Labelled data: anything that --data of run.py accepts."""
    split: str | None = setting(None, effect=Effect.INVOCATION)
    """Split to evaluate (train, validation or test). Required if the data have several."""
    output: str | None = setting(None, effect=Effect.INVOCATION)
    """New folder for the results. By default, evaluations/<data>-<split> in the run directory."""
    overwrite: bool = setting(False, effect=Effect.INVOCATION)
    """Replace an earlier evaluation in that folder."""
    text_column: str | None = setting(None, effect=Effect.INVOCATION)
    """Column with the text. By default, the model's; guessed if the file does not have it."""
    text_pair_column: str | None = setting(None, effect=Effect.INVOCATION)
    """Column with the second text of a pair. By default, the model's; guessed if the file does not have it."""
    label_column: str | None = setting(None, effect=Effect.INVOCATION)
    """Column with the label, the list of labels or the score, or several columns, separated by commas. By default, the
    model's; guessed if the file does not have it."""
    label_separator: str | None = setting(None, effect=Effect.INVOCATION)
    """Separator between several label names in one string. By default, the model's."""
    label_map: str | None = setting(None, effect=Effect.INVOCATION)
    """New names of labels, `old=new,old2=new2`, or a YAML or JSON file that maps old names to new names. Labels are
    matched to the model's labels by name."""
    encoding: str | None = setting(None, effect=Effect.INVOCATION)
    """Character encoding of text files, as in run.py."""
    quoting: Literal["auto", "csv", "none"] = setting("auto", effect=Effect.INVOCATION)
    """Meaning of quotes in csv and tsv files, as in run.py."""
    columns: list[str] = setting([], effect=Effect.INVOCATION)
    """Column names of csv and tsv files without a header, separated by commas."""
    bad_rows: Literal["error", "skip"] = setting("error", effect=Effect.INVOCATION)
    """What to do with rows that have no text, no label or invalid characters: report them all in one error, or skip
    them."""
    bootstrap: int = setting(2000, effect=Effect.INVOCATION, at_least=0, unit="resamples")
    """Resamples of the rows for the 95% intervals of the metrics; 0 omits the intervals. Every resample computes all
    metrics once."""
    seed: int = setting(0, effect=Effect.INVOCATION, at_least=0, at_most=LARGEST_SEED, unit="seed")
    """Seed of the resampling."""
    batch_size: int = setting(32, effect=Effect.INVOCATION, above=0, unit="rows")
    """Maximum number of rows in one batch. Results differ only by rounding."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting("auto", effect=Effect.INVOCATION)
    """Floating-point precision of the forward pass, as in run.py and predict.py: auto uses bf16 if the hardware
    supports it natively, otherwise float32."""


PROGRAM = model_program(
    "evaluate.py",
    "python experiments/evaluate.py",
    "Evaluate a trained model on other labelled data: metrics with intervals, a report page and predictions.",
    EvaluateSettings,
)


def execute(settings: EvaluateSettings) -> int:
    """Evaluate the model, and return the exit status."""
    if settings.encoding is not None:
        check_encoding(settings.encoding)
    folder = find_trained_model(expand_path(settings.run))
    output = output_folder(settings.output, folder, settings.data, settings.split)
    check_output(output, overwrite=settings.overwrite)
    with WaitingMessage("Loading libraries"), loading_libraries():
        from research.inference.evaluation import evaluate_model

    evaluate_model(settings, output)
    return 0


def main() -> int:
    """Execute the command line and return the exit status."""
    return run_model_script(PROGRAM, EvaluateSettings, execute)

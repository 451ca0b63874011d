"""Settings of predict.py. This module does not import torch, which keeps `--help` fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings

STDIN = "-"
"""Value of --data that stands for standard input."""
ALL_COLUMNS = ["all"]
"""Value of --keep_columns that stands for every column."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings(ModelScriptSettings):
    """Prediction"""

    data: str = setting("", effect=Effect.INVOCATION, input_path=str)
    """Data to predict: everything that run.py reads (see --data there), a .txt file with one text per line, or `-` for
    standard input."""
    output: str = setting("", effect=Effect.INVOCATION)
    """File to write: .parquet, .csv or .jsonl. It has one row for each row of the data, in the same order."""
    overwrite: bool = setting(False, effect=Effect.INVOCATION)
    """Replace an existing output file, and discard finished chunks that were made with other settings."""
    keep_columns: list[str] = setting([], effect=Effect.INVOCATION, takes_several_values=True)
    """Columns of the data to copy to the output, separated by commas, or `all`. For json and jsonl files, `all` means
    the columns of the first 100 rows."""
    split: str | None = setting(None, effect=Effect.INVOCATION)
    """Split to predict: train, validation or test. Needed only if the data have several."""
    text_column: str | None = setting(None, effect=Effect.INVOCATION)
    """Column with the text. By default, the column that the model was trained on if the data have it; otherwise it is
    guessed, and the guess is reported."""
    text_pair_column: str | None = setting(None, effect=Effect.INVOCATION)
    """Column with the second text of a pair, for a model of pairs. By default, chosen like --text_column."""
    stdin_format: str = setting("txt", effect=Effect.INVOCATION)
    """Format of standard input: txt (one text per line), or the extension of any other file type that --data reads,
    such as csv or jsonl."""
    encoding: str | None = setting(None, effect=Effect.INVOCATION)
    """Character encoding of text files. By default UTF-8, or UTF-16 if the file has a byte order mark."""
    quoting: Literal["auto", "csv", "none"] = setting("auto", effect=Effect.INVOCATION)
    """Meaning of quotes in csv and tsv files, as for run.py."""
    columns: list[str] = setting([], effect=Effect.INVOCATION)
    """Column names of csv and tsv files without a header, separated by commas."""
    batch_size: int = setting(32, effect=Effect.INVOCATION, above=0, unit="rows")
    """Maximum number of rows that one process sends through the model at once. On a CPU, which is faster with
    fewer tokens, it sends fewer long rows."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting("auto", effect=Effect.INVOCATION)
    """Floating-point precision of the forward pass, as for run.py. auto uses the launcher's precision if it sets one,
    otherwise bf16 if the hardware supports it natively, otherwise float32."""
    num_threads: int | None = setting(None, effect=Effect.INVOCATION, above=0, unit="threads")
    """CPU threads per process. By default, the machine's cores are divided among the processes."""

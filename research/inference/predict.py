"""Predict the labels of a file with a trained model, chunk by chunk."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from heads.registry import UnknownNameError, describe_unknown
from research.data.batches.tokens import fingerprint_tokenizer
from research.data.prepare.cleaning import fingerprint_steps
from research.data.sources.bad_rows import BadRows
from research.data.sources.base import list_file_sources
from research.data.sources.reading import make_errors_printable
from research.inference.input_rows import InputRow, InputRows, chunks
from research.inference.output_formats import Columns
from research.inference.parts import Manifest, Parts
from research.inference.predict_checks import check_settings
from research.inference.predict_settings import STDIN, PredictSettings
from research.inference.prediction_columns import prediction_columns, prediction_names
from research.inference.saved_model import load_model
from research.inference.scorer import Scorer
from research.records.results import versions, weights_sha256
from research.settings.config import RunConfig
from research.system.durable import converting_write_errors
from research.system.heap import HeapTrimmer
from research.system.manifest import file_sha256
from research.system.messages import logger
from research.system.signals import Interrupted, SignalWatch
from research.system.waiting import WaitingMessage, WaitingProgress, format_rate
from research.training.accelerator import create_accelerator, fail_together

CHUNK_ROWS = 4096
"""Rows in a chunk, which is read, sorted by length, predicted and written as a whole."""
ERROR = "error"
"""Column of the reason why a row has no prediction; null for all other rows."""
_WAIT_SECONDS = 0.1
"""Pause between two looks at the chunks of other processes."""


def predict(settings: PredictSettings) -> Path:
    """Predict the labels of a file, and write them to another file.

    The output has one row for each row of the data, in the same order: the kept columns, `prediction`, `score_<label>`
    for each label (unless labels are numbers), and `error`, the reason why a row has no prediction. If an earlier call
    was interrupted, the same call continues it.

    Args:
        settings: the model, the data, the output file and further settings.
    Returns:
        The output file.
    Raises:
        ValueError: if there is no trained model, the data cannot be read, or the output file exists or cannot be
            written; the message says what to do.
    """
    output = check_settings(settings)
    config = RunConfig(mixed_precision=settings.mixed_precision, num_threads=settings.num_threads, log_with=[])
    accelerator = create_accelerator(config, str(output.parent))
    with WaitingMessage(f"Loading the model {settings.run}"):
        saved = load_model(settings.run, plugin=settings.plugin)
    with tempfile.TemporaryDirectory() as scratch, make_errors_printable():
        data, stdin_sha256 = settings.data, None
        if data == STDIN:
            data, stdin_sha256 = _spool_stdin(Path(scratch), settings.stdin_format)
        with WaitingMessage(f"Inspecting {settings.data}"):
            rows = InputRows(data, settings, saved, Path(scratch))
        names = [*rows.kept_columns, *prediction_names(saved.task), ERROR]
        _check_unique(names)
        for message in rows.notes:
            logger.info(message)
        scorer = Scorer(
            saved,
            device=accelerator.device,
            batch_size=settings.batch_size,
            precision=accelerator.mixed_precision,
        )
        manifest = _describe_work(settings, rows, scorer, stdin_sha256)
        with Parts(output) as parts:
            _Prediction(rows, scorer, parts, accelerator, names).execute(manifest, overwrite=settings.overwrite)
    return output


class _Prediction:
    """The work of one process: it predicts every n-th chunk, for n processes; the main process joins the chunks.

    Args:
        rows: the rows of the data. Every process reads all of them.
        scorer: computes the logits.
        parts: the finished chunks.
        accelerator: accelerator of this process.
        names: names of the output's columns.
    """

    def __init__(
        self, rows: InputRows, scorer: Scorer, parts: Parts, accelerator: Accelerator, names: Sequence[str]
    ) -> None:
        self.rows, self.scorer, self.parts, self.accelerator, self.names = rows, scorer, parts, accelerator, names
        self.bad = BadRows("skip")
        self.num_chunks = 0
        self.watch = SignalWatch(reports=False)

    def execute(self, manifest: Manifest, *, overwrite: bool) -> None:
        """Predict the chunks that are not finished yet, and publish the output."""
        accelerator, parts = self.accelerator, self.parts
        facts: list[Any] = [None]
        with fail_together(accelerator):
            if accelerator.is_main_process:
                with WaitingMessage(f"Counting the rows of {self.rows.name}"):
                    num_rows = self.rows.count()
                facts = [(num_rows, parts.start(manifest, overwrite=overwrite))]
        broadcast_object_list(facts)  # from the main process
        num_rows, is_finished = facts[0]
        self.num_chunks = max(1, -(-num_rows // CHUNK_ROWS))
        if is_finished:
            if accelerator.is_main_process:
                parts.remove()
                logger.info(f"An earlier command has finished {parts.output}.")
            return
        started = time.monotonic()
        with self.watch, self._failing_alone():
            num_predicted = self._predict_chunks(num_rows)
            if not accelerator.is_main_process:
                return
            while not all(map(parts.has, range(self.num_chunks))):
                self._stop_if_asked()
                time.sleep(_WAIT_SECONDS)
            with WaitingMessage(f"Writing {parts.output}"):
                parts.publish(self.num_chunks, self.names)
        rate = num_predicted / (time.monotonic() - started)
        if self.bad.count:
            counts = sum(self.bad.reasons.values(), Counter())
            reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counts.most_common())
            logger.warning(
                f"{self.bad.count:,} of {num_rows:,} rows have no prediction; see the column '{ERROR}'. {reasons}."
            )
        rows = "row" if num_rows == 1 else "rows"
        logger.info(f"Predicted {num_rows:,} {rows} ({format_rate(rate)} rows/s): {parts.output}")

    def _predict_chunks(self, num_rows: int) -> int:
        """Predict this process's chunks, and return how many rows all processes predict."""
        finished = [number for number in range(self.num_chunks) if self.parts.has(number)]
        if finished:
            logger.info(f"Reusing {len(finished):,} of {self.num_chunks:,} chunks, which are finished.")
        num_left = num_rows - sum(min(CHUNK_ROWS, num_rows - number * CHUNK_ROWS) for number in finished)
        trimmer = HeapTrimmer()
        num_processes = self.accelerator.num_processes
        with WaitingProgress(f"predicting {self.rows.name}", num_left, "row") as progress:

            def after_batch(num_rows: int) -> None:
                progress.update(num_rows * num_processes)  # the other processes are about as fast
                trimmer.count_batch()
                self._stop_if_asked()

            for number, chunk in enumerate(chunks(self.rows.read(self.bad), CHUNK_ROWS)):
                self._stop_if_asked()
                if number % num_processes == self.accelerator.process_index and not self.parts.has(number):
                    self.parts.write(number, self._predict_chunk(number, chunk, after_batch), len(chunk))
        return num_left

    def _predict_chunk(self, number: int, chunk: Sequence[InputRow], after_batch: Callable[[int], None]) -> Columns:
        """Return the columns of the output for the chunk with this number."""
        usable = [index for index, row in enumerate(chunk) if row.problem is None]
        logits = self.scorer([chunk[index].texts for index in usable], after_batch=after_batch)
        if not (is_finite := np.isfinite(logits).all(axis=1)).all():
            row = number * CHUNK_ROWS + usable[int(np.argmin(is_finite))] + 1
            raise ValueError(
                f"The model's output for row {row:,} of {self.rows.name} is not finite. If the precision is fp16, use "
                "--mixed_precision bf16 or no."
            )
        # Position of each row among the usable rows; null for bad rows, which get null predictions.
        positions = dict(zip(usable, range(len(usable)), strict=True))
        order = pa.array([positions.get(index) for index in range(len(chunk))], pa.int64())
        predicted = prediction_columns(self.scorer.saved.task, logits)
        return {
            **{name: [row.kept[index] for row in chunk] for index, name in enumerate(self.rows.kept_columns)},
            **{name: column.take(order) for name, column in predicted.items()},
            ERROR: pa.array([row.problem for row in chunk], pa.string()),
        }

    def _stop_if_asked(self) -> None:
        """End this process if it received a signal, or another process has failed.

        Raises:
            Interrupted: on the main process, after a signal.
            SystemExit: on the other processes, or if another process reports its error.
        """
        number = self.watch.received_signal()
        if self.accelerator.num_processes > 1 and self.parts.has_failure():
            raise SystemExit(1)
        if number and not self.accelerator.is_main_process:
            raise SystemExit(128 + number)
        if number:
            num_finished = sum(map(self.parts.has, range(self.num_chunks)))
            raise Interrupted(
                number,
                f"{signal.Signals(number).name} ended the prediction; {num_finished:,} of {self.num_chunks:,} chunks "
                "are finished. The same command continues it.",
            )

    @contextlib.contextmanager
    def _failing_alone(self) -> Iterator[None]:
        """Return a context in which an error ends all processes, but only one process reports it."""
        try:
            yield
        except Exception:
            if self.accelerator.num_processes > 1 and not self.parts.claim_failure():
                raise SystemExit(1) from None
            raise


def _describe_work(settings: PredictSettings, rows: InputRows, scorer: Scorer, stdin_sha256: str | None) -> Manifest:
    """Return everything that the content of the chunks depends on, by the name that a message about a change uses."""
    saved = scorer.saved
    return {
        "data": rows.identity if stdin_sha256 is None else stdin_sha256,
        "model": [
            weights_sha256(saved.model),
            file_sha256(saved.folder / "config.json"),
            fingerprint_tokenizer(saved.tokenizer),
            fingerprint_steps(saved.inputs.cleaning),
        ],
        **{name: getattr(settings, name) for name in ("split", "encoding", "quoting", "columns", "batch_size")},
        "text_column": rows.text_columns,
        "keep_columns": rows.kept_columns,
        "mixed_precision": scorer.precision,
        "device": scorer.device.type if scorer.device.type == "cpu" else torch.cuda.get_device_name(scorer.device),
        "num_threads": torch.get_num_threads() if scorer.device.type == "cpu" else None,
        "the versions of the libraries": versions(),
        "the size of chunks": CHUNK_ROWS,
    }


def _spool_stdin(folder: Path, file_type: str) -> tuple[str, str]:
    """Copy standard input to a file, because data are read more than once; return its path and its SHA-256 hash.

    Raises:
        UnknownNameError: if no file type has this extension.
    """
    known = [suffix.removeprefix(".") for suffix in list_file_sources()]
    if file_type.removeprefix(".").partition(".")[0] not in known:  # such as csv.gz
        raise UnknownNameError("--stdin_format: " + describe_unknown("file type", file_type, known, listed_as="Known"))
    path = folder / f"stdin.{file_type.removeprefix('.')}"
    digest = hashlib.sha256()
    with WaitingMessage("Reading standard input"), converting_write_errors(path, needed=0), path.open("wb") as file:
        while content := sys.stdin.buffer.read(2**20):
            digest.update(content)
            file.write(content)
    return str(path), digest.hexdigest()


def _check_unique(names: Sequence[str]) -> None:
    """Raise ValueError if a kept column has the name of a predicted column, or is kept twice."""
    clashes = sorted({name for name in names if names.count(name) > 1})
    if clashes:
        raise ValueError(
            f"The output would have two columns named {', '.join(map(repr, clashes))}. Leave them out of "
            "--keep_columns, or rename them in the data."
        )

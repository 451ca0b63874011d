"""Check the settings of predict.py before torch is imported, so that obvious mistakes are reported at once."""

from __future__ import annotations

import os
from pathlib import Path

from research.data.sources.encodings import check_encoding
from research.inference.output_formats import OUTPUT_FORMATS
from research.inference.parts import Parts, check_output_is_new
from research.inference.predict_settings import STDIN, PredictSettings
from research.model.saved_models import find_trained_model
from research.system.durable import check_writable
from research.system.launcher import check_launch, num_launched_processes
from research.system.paths import expand_path


def check_settings(settings: PredictSettings) -> Path:
    """Check what can be checked without large libraries, the data or the weights, and return the output file.

    Raises:
        ValueError: if there is no trained model, or the output file cannot be written as requested.
    """
    check_launch()
    output = expand_path(settings.output)
    if output.suffix not in OUTPUT_FORMATS:
        *first, last = OUTPUT_FORMATS
        raise ValueError(f"Expected the name of --output to end in {', '.join(first)} or {last}; got '{output}'.")
    if output.is_dir():
        raise ValueError(f"Expected --output to be a file; {output} is a folder.")
    if settings.encoding is not None:
        check_encoding(settings.encoding)
    if settings.data == STDIN and num_launched_processes() > 1:
        raise ValueError("Only one process can read standard input. Save it to a file, or use one process.")
    if output.exists() and os.path.exists(settings.data) and os.path.samefile(output, settings.data):
        raise ValueError(f"--output is the same file as --data: {output}. Choose another --output.")
    if not Parts(output).folder.exists():  # otherwise, the earlier command may have finished the output
        check_output_is_new(output, overwrite=settings.overwrite)
    check_writable(output)
    find_trained_model(expand_path(settings.run))
    return output

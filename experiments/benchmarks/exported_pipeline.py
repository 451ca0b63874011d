"""Compare exported models with their runs on the test rows, in an environment that has only Transformers and PyTorch.

    python experiments/benchmarks/exported_pipeline.py runs/lstm runs/plugin runs/lora --python clean/bin/python

Each model is exported with `--format hub`. In the other environment, a text-classification pipeline with its default
settings then classifies the run's test rows, one at a time. Midway computes the logits of the same rows, also one at a
time, since padding changes the last bits of logits. The script reports the largest difference of a logit, and the
number of right predictions of both. It ends with exit status 1 if a prediction differs.

--python is the interpreter of an environment made with `python -m venv clean` and `clean/bin/pip install transformers
torch`. By default, the script uses this environment, restricted to Transformers, PyTorch and what they require.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from research.data.prepare.load import load_splits
from research.export.exported_logits import CLASSIFY_SCRIPT, compute_logits
from research.export.isolated_process import BASE, run_isolated
from research.export.main import execute
from research.export.settings import ExportSettings
from research.inference.saved_model import load_model
from research.settings.config import RunConfig
from research.settings.run_files import CONFIG


def compare(run: Path, python: str | None, limit: int | None) -> bool:
    """Export a run's model, classify its test rows in the other environment, and return whether all predictions agree.

    Args:
        run: run directory of a single-label model.
        python: interpreter of the other environment; None for this one, restricted to what Transformers requires.
        limit: number of rows to classify; None for all.
    """
    saved = load_model(run)
    config = RunConfig(**yaml.safe_load((run / CONFIG).read_text(encoding="utf-8")))
    data = load_splits(config).test  # the texts are cleaned already
    data = data.select(range(min(limit or len(data), len(data))))
    names = ("text", "text_pair")[: len(saved.inputs.text_columns)]
    rows = list(zip(*(data[name] for name in names), strict=True))
    labels = np.asarray(data["label"])
    with tempfile.TemporaryDirectory() as temporary:
        folder, file = Path(temporary, "exported"), Path(temporary, "texts.json")
        execute(ExportSettings(run=str(run), format="hub", output=str(folder)))
        request = {
            "texts": [dict(zip(names, row, strict=True)) for row in rows],
            "batch_sizes": [1],
            "unclean_texts": [],
            "options": {},
            "trust_remote_code": True,
            "num_threads": torch.get_num_threads(),
        }
        file.write_text(json.dumps(request), encoding="utf-8")
        start = time.monotonic()
        if python is None:
            run_isolated(CLASSIFY_SCRIPT, [str(folder), str(file)], BASE)
        else:
            subprocess.run([python, "-I", CLASSIFY_SCRIPT, temporary, folder, file], check=True)
        seconds = time.monotonic() - start
        exported = np.asarray(json.loads(file.read_text(encoding="utf-8"))["logits"][0])
    expected = np.concatenate([compute_logits(saved, saved.model, [row]) for row in rows])
    difference = np.abs(exported - expected).max()
    predicted, predicted_by_midway = exported.argmax(axis=1), expected.argmax(axis=1)
    print(
        f"{run}: {len(rows):,} rows in {seconds:.0f} s; largest difference of a logit {difference:.1e} (largest logit "
        f"{np.abs(expected).max():.2f}); right: {int((predicted == labels).sum()):,} exported, "
        f"{int((predicted_by_midway == labels).sum()):,} in Midway; different predictions: "
        f"{int((predicted != predicted_by_midway).sum())}",
        flush=True,
    )
    return bool((predicted == predicted_by_midway).all())


def main() -> int:
    """Compare all runs, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of single-label models")
    parser.add_argument("--python", help="interpreter of the other environment")
    parser.add_argument("--limit", type=int, help="number of test rows (default: all)")
    arguments = parser.parse_args()
    agrees = [compare(run, arguments.python, arguments.limit) for run in arguments.runs]
    return 0 if all(agrees) else 1


if __name__ == "__main__":
    sys.exit(main())

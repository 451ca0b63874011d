"""A script for test_windows: takes one training step on a single long text, and writes the peak memory in bytes."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

from tests.launched.runs_in_process import prepare_run, script_parser, train_and_end


def _peak_memory() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Train, and write the peak memory of the process."""
    parser = script_parser()
    parser.add_argument("--window_batch_size", type=int, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(
            folder,
            [],
            encoder=arguments.encoder,
            data=arguments.data,
            head="mean",
            batch_size=1,
            max_steps=1,
            max_length=64,
            long_texts="windows",
            stride=48,
            max_windows=10_000,
            window_batch_size=arguments.window_batch_size,
            mixed_precision="no",
        )
        before = _peak_memory()
        train_and_end(run)
    Path(arguments.output).write_text(str(_peak_memory() - before))


if __name__ == "__main__":
    main()

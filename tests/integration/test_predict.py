"""predict.py as users start it: on several processes, with signals and kills, and with bad input."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.trained_run import train_tiny_run
from tests.conftest import ROOT, WORDS, Launch, Start
from tests.integration.conftest import Disk
from tests.scripts.predict_kills import SETTINGS, kill_and_compare

NUM_ROWS = 1000
"""Rows of the data: 16 chunks of 64 rows."""


@pytest.fixture(scope="module")
def run(tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    return train_tiny_run(directory, tiny_encoder, tiny_reviews, cache_dir, max_length=16)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv file with texts of different lengths, among them some bad rows."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(0, 12))) for _ in range(NUM_ROWS)]
    path.write_text("\n".join(["id,text", *(f"{row},{text}" for row, text in enumerate(texts))]) + "\n")
    return path


@pytest.fixture(scope="module")
def expected(launch: Launch, run: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output of one process without any interruption."""
    output = tmp_path_factory.mktemp("expected") / "out.csv"
    done = launch([run, "--data", rows, "--output", output, *SETTINGS], script="predict.py")
    assert f"Predicted {NUM_ROWS:,} rows" in done.stdout
    assert "empty text: " in done.stdout
    return output.read_bytes()


def test_predict_on_two_processes_writes_the_same_bytes(
    launch: Launch, run: Path, rows: Path, expected: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    done = launch([run, "--data", rows, "--output", output, *SETTINGS], script="predict.py", num_processes=2)
    assert output.read_bytes() == expected
    assert done.stdout.count("Predicted ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_error_of_one_process_ends_all_with_one_line(launch: Launch, run: Path, rows: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "fail.py"
    plugin.write_text(
        "import os\nfrom research.inference import predict\npredict.CHUNK_ROWS = 64\n"
        "def fail(*arguments, **options):\n    raise ValueError('no logits')\n"
        "if os.environ['RANK'] == '1':\n    predict.Scorer.__call__ = fail\n"
    )
    arguments = [run, "--data", rows, "--output", tmp_path / "out.csv", "--plugin", plugin, "--num_threads", "1"]
    done = launch(arguments, script="predict.py", num_processes=2, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "out.csv").exists()
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "no logits" in done.stderr


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_ends_predict_with_one_line_and_the_same_command_continues_it(
    start: Start, launch: Launch, run: Path, rows: Path, expected: bytes, tmp_path: Path, name: str, status: int
) -> None:
    output = tmp_path / "out.csv"
    arguments = [run, "--data", rows, "--output", output, *SETTINGS]
    command = start(arguments, script="predict.py")
    command.wait_for("the first chunk", lambda: any(tmp_path.glob(".out.csv.parts/part-*")))
    os.kill(command.process.pid, getattr(signal, name))
    assert command.wait() == status
    (line,) = [line for line in command.read_output().splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {name} ended the prediction; ")
    assert "The same command continues it." in line
    done = launch(arguments, script="predict.py")
    assert "Reusing " in done.stdout
    assert output.read_bytes() == expected


def test_standard_input_is_read_by_one_process_only(launch: Launch, run: Path, tmp_path: Path) -> None:
    script = str(ROOT / "experiments" / "predict.py")
    command = [sys.executable, script, str(run), "--data", "-", "--output", "out.jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, input=b"good film\nbad\n", cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 2
    arguments = [run, "--data", "-", "--output", tmp_path / "two.jsonl"]
    done = launch(arguments, script="predict.py", num_processes=2, check=False)
    assert done.stderr.count("error: Only one process can read standard input.") == 1


def test_bad_input_is_refused_in_one_line(
    launch: Launch, run: Path, rows: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").touch()
    (tmp_path / "quote.csv").write_text('text\ngood\n"bad\nfilm\n')
    for arguments, status, message in (
        ([tmp_path, "--data", rows, "--output", "o.csv"], 1, "No trained model in"),
        ([tiny_encoder, "--data", rows, "--output", "o.csv"], 1, "plain model of type 'bert'"),
        ([run, "--data", rows, "--output", tmp_path / "old.csv"], 1, "old.csv exists already"),
        ([run, "--data", rows, "--output", "o.csv", "--text_column", "texts"], 1, "Columns: id, text."),
        ([run, "--data", tmp_path / "quote.csv", "--output", "o.csv"], 1, "a quote in line 3 encloses"),
        ([run, "--data", rows], 2, "Expected --output"),
        ([run, "--data", rows, "--output", "o.csv", "--batch_size", "0"], 2, "above 0"),
    ):
        done = launch(arguments, script="predict.py", check=False)
        assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
        assert done.stderr.startswith("error: ")
        assert message in done.stderr


@pytest.mark.parametrize(
    ("leave", "num_processes", "during_join"),
    [(49_152, 0, False), (49_152, 2, False), (172_032, 0, True)],
    ids=["chunks", "chunks of two processes", "joined file"],
)
def test_full_disk_ends_predict_with_one_line_and_the_same_command_continues_it(
    launch: Launch,
    disk: Disk,
    run: Path,
    rows: Path,
    expected: bytes,
    leave: int,
    num_processes: int,
    during_join: bool,
) -> None:
    output = disk.path / "out.csv"
    arguments = [run, "--data", rows, "--output", output, *SETTINGS]
    disk.fill(leave)
    done = launch(arguments, script="predict.py", num_processes=num_processes, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert f"error: Cannot write {disk.path}" in errors[0]
    assert "No space left on device" in errors[0]
    num_finished = len(list(disk.path.glob(".out.csv.parts/part-*")))
    assert (num_finished == 16) if during_join else (0 < num_finished < 16)
    disk.clear()
    done = launch(arguments, script="predict.py", num_processes=num_processes)
    assert f"Reusing {num_finished} of 16 chunks" in done.stdout
    assert output.read_bytes() == expected


@pytest.mark.parametrize(
    ("num_kills", "num_processes", "suffix"),
    [
        (3, 0, ".csv"),
        (1, 2, ".parquet"),
        pytest.param(10, 0, ".jsonl", marks=pytest.mark.slow),  # two minutes
        pytest.param(10, 2, ".csv", marks=pytest.mark.slow),
    ],
)
def test_killed_predictions_end_with_the_same_bytes(
    run: Path,
    rows: Path,
    tmp_path: Path,
    user_environment: dict[str, str],
    num_kills: int,
    num_processes: int,
    suffix: str,
) -> None:
    for killed in kill_and_compare(
        tmp_path, run, rows, user_environment, num_kills=num_kills, num_processes=num_processes, suffix=suffix
    ):
        print(killed)
        assert not killed.problem, killed

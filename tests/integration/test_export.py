"""experiments/export.py as users run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.research.inference.conftest import trained_run

__all__ = ["trained_run"]


def test_export_writes_a_folder_and_says_how_it_was_checked(launch: Launch, trained_run: Path, tmp_path: Path) -> None:
    completed = launch([trained_run, "--format", "hub", "--output", tmp_path / "new" / "export"], script="export.py")
    assert "largest difference of a logit" in completed.stdout
    assert {path.name for path in tmp_path.glob("new/*")} == {"export"}
    assert (tmp_path / "new" / "export" / "README.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "hup", "--output", "new"], "Did you mean 'hub'"),
        (["--format", "hub"], "Expected --output"),
        (["--format", "hub", "--output", "new", "--merge", "true"], "--merge has no effect"),
        (["--format", "hub", "--output", "new", "--private", "true"], "without --push_to_hub"),
        (["--format", "hub", "--output", "new", "--push_to_hub", "nobody"], "USER/NAME"),
        (["--format", "hub", "--output", "new", "--native", "true"], "tanh"),
    ],
)
def test_export_refuses_wrong_settings_in_one_line(
    launch: Launch, trained_run: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    completed = launch([trained_run, *arguments], script="export.py", check=False, cwd=tmp_path)
    assert completed.returncode in (1, 2)
    (line,) = completed.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("export_format", ["hub", "onnx", "torch"])
def test_export_to_a_full_disk_is_one_line_and_leaves_nothing(
    launch: Launch, trained_run: Path, tmp_path: Path, export_format: str
) -> None:
    # A file-size limit of the process has the same effect on writes as a full disk.
    script = tmp_path / "limited.py"
    script.write_text(
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from research.export.main import main\n"
        "sys.exit(main())\n"
    )
    output = tmp_path / "export"
    completed = launch(
        [trained_run, "--format", export_format, "--output", output], script=str(script), check=False, forks=False
    )
    assert completed.returncode == 1
    error = [line for line in completed.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "terminate" not in completed.stderr
    assert f"Cannot write {output}" in error[0]
    assert {path.name for path in tmp_path.iterdir()} == {"limited.py"}

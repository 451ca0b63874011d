"""The command line of exports to torch.export."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.export.main import execute
from research.export.settings import ExportSettings
from tests.research.export.readme_code import run_readme


def test_export_torch_writes_a_folder_with_working_code(trained_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "export"
    execute(ExportSettings(run=str(trained_run), format="torch", output=str(target)))
    assert len(run_readme(target, ["good", "bad film"])) == 2
    with pytest.raises(ValueError, match="torch"):
        execute(ExportSettings(run=str(target), format="torch", output=str(tmp_path / "again")))

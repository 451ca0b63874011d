"""Config files of `accelerate launch` are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.launcher import Launcher, read_launcher
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu_2_processes", Launcher(2, False, None)),
        ("single_gpu", Launcher(1, True, "0")),
        ("multi_gpu", Launcher(2, True, None)),
        ("multi_node", Launcher(8, True, None)),
    ],
)
def test_launcher_config_files_are_read(name: str, expected: Launcher) -> None:
    assert read_launcher(str(ROOT / "accelerate_configs" / f"{name}.yaml")) == expected


@pytest.mark.parametrize("content", [": :", "- 1", "num_processes: many", "num_machines: 0"])
def test_unreadable_launcher_config_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ValueError, match="Cannot read --accelerate_config"):
        read_launcher(str(tmp_path / "a.yaml"))

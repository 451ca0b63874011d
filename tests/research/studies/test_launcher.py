"""Config files of `accelerate launch` are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.launcher import Launcher, read_launcher
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu_2_processes", Launcher(num_processes=2, uses_gpus=False, gpu_ids=None)),
        ("single_gpu", Launcher(num_processes=1, uses_gpus=True, gpu_ids="0")),
        ("multi_gpu", Launcher(num_processes=2, uses_gpus=True, gpu_ids=None)),
        ("multi_node", Launcher(num_processes=8, uses_gpus=True, gpu_ids=None)),
    ],
)
def test_launch_configurations_of_the_repository_are_read(name: str, expected: Launcher) -> None:
    assert read_launcher(str(ROOT / "accelerate_configs" / f"{name}.yaml")) == expected


@pytest.mark.parametrize("content", [": :", "- 1", "num_processes: many", "num_machines: 0"])
def test_invalid_launch_configuration_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ValueError, match="Cannot read --accelerate_config"):
        read_launcher(str(tmp_path / "a.yaml"))

"""Fixtures that several integration tests share: an encoder, flags, a small disk, and a directory for studies."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.postgresql import PostgresqlServer
from tests.builders.workplace import Workplace
from tests.conftest import ROOT, Launch


@pytest.fixture(scope="session")
def deep_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with three layers, and therefore with the four hidden states that `last4` needs."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoders") / "deep"
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny_encoder, num_hidden_layers=3)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pausable_run_flags(tiny_encoder: Path, tiny_reviews: Path) -> list[str]:
    """Flags of a quick run whose processes pause, by default after step 3, if HOLD is set in the environment."""
    return [
        *("--encoder", str(tiny_encoder), "--data", str(tiny_reviews), "--max_length", "32", "--batch_size", "8"),
        *("--log_every", "1", "--mixed_precision", "no", "--num_threads", "1", "--report", "false"),
        *("--plugin", str(ROOT / "tests" / "plugins" / "hold_at_step.py"), "--hook", "hold"),
    ]


class Disk:
    """A small file system in memory.

    Args:
        path: mount point.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def fill(self, leave: int) -> None:
        """Fill the disk until only `leave` bytes are free, rounded down to a multiple of the page size."""
        # In a loop, since TensorBoard's thread may write at the same time.
        with (self.path / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while (free := shutil.disk_usage(self.path).free) > leave:
                file.write(bytes(free - leave))

    def clear(self) -> None:
        """Delete the file that `fill` has written."""
        (self.path / "filler").unlink()


@pytest.fixture(scope="module")
def uninterrupted_run(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of one process with the module's `flags`."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*flags, "--output_dir", directory])
    return directory


@pytest.fixture(scope="module")
def uninterrupted_run_of_two_processes(
    launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of an uninterrupted run of two processes with the module's `flags`."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*flags, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An empty disk of 8 MB. Skips the test if a file system cannot be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("requires the mount command")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"cannot mount a file system: {mount.stderr.strip()}")
    yield Disk(path)
    # Lazily, since a failed run in this process may still have a file open.
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def workplace(
    tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, user_environment: dict[str, str]
) -> Iterator[Workplace]:
    """A working directory with a plugin, for running studies."""
    workplace = Workplace(tmp_path, tiny_encoder, tiny_reviews, user_environment)
    yield workplace
    (tmp_path / "pause.txt").unlink(missing_ok=True)  # while it exists, the plugin of the workplace pauses runs
    workplace.kill_commands()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server that the tests of a file share; they need the mark `needs_postgresql`."""
    # Not in tmp_path, since the server's user cannot enter pytest's folders.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgresqlServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgresql_address(server: PostgresqlServer) -> str:
    """The address of a database on the server that the tests of a file share."""
    return server.address

"""Check which packages .ci/system_packages installs, and what it prints if it cannot install them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMANDS = ("chromium", "g++", "initdb", "ip", "pdflatex")
"""Commands whose packages the script installs if they do not exist."""


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with the only commands that the script finds: bash, `id` as root, and an apt-get that logs its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    bash = shutil.which("bash")
    assert bash is not None
    (folder / "bash").symlink_to(bash)
    write_command(folder / "id", "echo 0")
    write_command(folder / "apt-get", f"echo apt-get $* >> {tmp_path}/called")
    return folder


def write_command(path: Path, line: str) -> None:
    """Write an executable bash script of one line."""
    path.write_text(f"#!{shutil.which('bash')}\n{line}\n")
    path.chmod(0o755)


def run_script(folder: Path) -> str:
    """Run the script, and return its output followed by the calls of apt-get."""
    script = str(ROOT / ".ci" / "system_packages")
    done = subprocess.run(
        [str(folder / "bash"), script], env={"PATH": str(folder)}, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    calls = folder.parent / "called"
    return done.stdout + (calls.read_text() if calls.exists() else "")


def test_packages_of_existing_commands_are_not_installed(bin_folder: Path) -> None:
    for name in COMMANDS:
        write_command(bin_folder / name, "exit 1")
    assert "apt-get" not in run_script(bin_folder)


@pytest.mark.parametrize("browser", ["chromium-browser", "google-chrome"])
def test_alternative_names_of_the_browser_are_accepted(bin_folder: Path, browser: str) -> None:
    for name in (browser, "initdb"):
        write_command(bin_folder / name, "exit 1")
    assert "installing g++ iproute2 texlive-latex-recommended with" in run_script(bin_folder)


def test_root_installs_missing_packages(bin_folder: Path) -> None:
    write_command(bin_folder / "initdb", "exit 1")
    printed = run_script(bin_folder)
    assert "installing chromium g++ iproute2 texlive-latex-recommended with" in printed
    installs = "apt-get install -y -qq --no-install-recommends chromium g++ iproute2 texlive-latex-recommended"
    assert printed.endswith(f"apt-get update -qq\n{installs}\n")


def test_user_with_sudo_installs_with_sudo(bin_folder: Path) -> None:
    write_command(bin_folder / "id", "echo 1000")
    # This sudo drops --non-interactive. It accepts the test command `true`, and appends two words to the arguments of
    # apt-get, which logs them.
    write_command(bin_folder / "sudo", 'shift; [ "$1" = true ] || "$@" through sudo')
    assert "apt-get update -qq through sudo\n" in run_script(bin_folder)


@pytest.mark.parametrize("asks_for_password", [False, True])
def test_user_without_root_access_installs_nothing(bin_folder: Path, asks_for_password: bool) -> None:
    write_command(bin_folder / "id", "echo 1000")
    if asks_for_password:  # otherwise, there is no sudo
        write_command(bin_folder / "sudo", "echo a password is required >&2; exit 1")
    printed = run_script(bin_folder)
    assert "not installed" in printed
    assert "sudo without a password" in printed
    assert "skipped" in printed
    assert "apt-get update" not in printed


def test_without_apt_get_nothing_is_installed(bin_folder: Path) -> None:
    (bin_folder / "apt-get").unlink()
    printed = run_script(bin_folder)
    assert "no apt-get" in printed
    assert "skipped" in printed

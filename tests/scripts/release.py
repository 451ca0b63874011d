"""Check that this checkout can be released, build it, and test the wheel in a new environment.

`make release` runs this script. It writes the two files of the release into dist/, and prints the commands that publish
them. It does not tag or upload anything itself.
"""

from __future__ import annotations

import configparser
import datetime as dt
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from research.system.errors import print_error

ROOT = Path(__file__).parent.parent.parent
SMOKE = ["--data", "imdb", "--encoder", "minilm", "--smoke", "true", "--log_with", "[]", "--output_dir", "smoke"]
"""Settings of a run with the packaged data and encoder, which needs no network access."""


def read_version(repository: Path) -> str:
    """Return the version in setup.cfg."""
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg", encoding="utf-8")
    return config["metadata"]["version"]


def find_problems(repository: Path, version: str, today: dt.date) -> list[str]:
    """Return the reasons why a checkout cannot be released, one message for each.

    Args:
        repository: the checkout.
        version: the version to release.
        today: the date that the changelog must have.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    problems = []
    if git("status", "--porcelain"):
        problems.append("Files differ from the last commit; commit or remove them (git status lists them).")
    if git("tag", "--list", f"v{version}"):
        problems.append(f"The tag v{version} exists; raise the version in setup.cfg.")
    lines = (repository / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    newest = next((line for line in lines if line.startswith("## ")), "no heading")
    if newest != f"## [{version}] - {today}":
        problems.append(f"CHANGELOG.md starts with '{newest}'; expected '## [{version}] - {today}'.")
    return problems


def build(repository: Path) -> list[Path]:
    """Build the source distribution and the wheel in dist/, check their descriptions, and return both files."""
    dist = repository / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(dist), str(repository)], check=True)
    files = sorted(dist.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], check=True)
    return files


def try_wheel(wheel: Path, constraints: Path) -> tuple[str, str]:
    """Train with a wheel in a new environment outside the repository; return the status and version in result.json."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder, "environment")
        venv.create(environment, with_pip=False)
        python = environment / "bin" / "python"
        # The new environment has no pip; use that of the interpreter from which the current environment was created.
        pip = [str(Path(sys.base_prefix, "bin", "python3")), "-m", "pip", "--python", str(python), "install"]
        requirement = f"midway[demo] @ {wheel.as_uri()}"
        subprocess.run([*pip, "--quiet", "--no-compile", "--constraint", str(constraints), requirement], check=True)
        subprocess.run([str(python), "-m", "research.scripts.run", *SMOKE], cwd=folder, check=True)
        result = json.loads(Path(folder, "smoke", "result.json").read_text(encoding="utf-8"))
    return result["status"], result["versions"]["midway"]


def main() -> int:
    """Check, build and test the release; return the exit status."""
    version = read_version(ROOT)
    problems = find_problems(ROOT, version, dt.date.today())
    for problem in problems:
        print_error(problem, 2)
    if problems:
        return 2
    try:
        wheel, source = sorted(build(ROOT), key=lambda file: file.suffix != ".whl")
        status_and_version = try_wheel(wheel, ROOT / "constraints.txt")
    except subprocess.CalledProcessError as error:
        return print_error(f"This command failed: {shlex.join(error.cmd)}", 1)
    if status_and_version != ("finished", version):
        return print_error(f"Expected a finished run of version {version} from the wheel; got {status_and_version}.", 1)
    print(f"\nMidway {version} can be released. These commands publish it:")
    print(f"  git tag --annotate v{version} --message 'Midway {version}' && git push origin v{version}")
    print(f"  .venv/bin/twine upload {wheel.relative_to(ROOT)} {source.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Imports point one way: experiments -> research -> heads -> torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REPOSITORY_PACKAGES = {"heads", "research", "experiments", "tests"}
ALLOWED_PACKAGES = {
    "heads": {"heads"},
    "research": {"heads", "research"},
    "experiments": {"heads", "research", "experiments"},
}
ALLOWED_LIBRARIES = {"torch", "jaxtyping"}


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED_PACKAGES))
def test_package_imports_only_packages_below(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        upward = (imported_packages(path) & REPOSITORY_PACKAGES) - ALLOWED_PACKAGES[package]
        assert not upward, f"{path} imports {upward}"


def test_heads_import_only_torch_and_jaxtyping() -> None:
    for path in sorted((ROOT / "heads").rglob("*.py")):
        unexpected = imported_packages(path) - set(sys.stdlib_module_names) - ALLOWED_LIBRARIES - {"heads"}
        assert not unexpected, f"{path} imports {unexpected}"


def test_command_line_does_not_import_torch_or_transformers() -> None:
    imports = "import sys, research, research.settings.command_line, research.inference.predict_checks"
    code = f"{imports}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_tasks_import_no_heavy_libraries() -> None:
    heavy_libraries = ("torch", "scipy", "sklearn", "pyarrow", "evaluate", "datasets")
    imports = "import sys, research.tasks.guess, research.tasks.metric_names"
    code = f"{imports}; sys.exit(any(map(sys.modules.get, {heavy_libraries})))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_entry_script_stays_short() -> None:
    assert len((ROOT / "experiments" / "run.py").read_text(encoding="utf-8").splitlines()) <= 80

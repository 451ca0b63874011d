"""Plugins: the user's files and modules, imported once."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heads import HEADS
from research.settings.plugins import check_plugins, hash_plugins, import_plugins
from research.system.user_code import describe, is_user_code


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; afterwards, imported modules and added import paths are removed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


COUNT_IMPORTS = "with open('imports.txt', 'a') as file:\n    file.write('.')\n"
"""Code of a plugin that records each of its imports as a dot."""


def test_plugin_file_is_imported_once_per_path(working_directory: Path) -> None:
    for name in ("mine.py", "other/mine.py"):
        (working_directory / name).parent.mkdir(exist_ok=True)
        (working_directory / name).write_text(COUNT_IMPORTS)
    import_plugins(["mine.py", "mine.py", str(working_directory / "mine.py")])
    assert (working_directory / "imports.txt").read_text() == "."
    import_plugins(["other/mine.py"])
    assert (working_directory / "imports.txt").read_text() == ".."
    assert is_user_code(str(working_directory / "mine.py"))


def test_plugin_file_may_be_in_the_home_directory(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(working_directory))
    (working_directory / "mine.py").write_text(COUNT_IMPORTS)
    check_plugins(["~/mine.py"])
    import_plugins(["~/mine.py"])
    assert (working_directory / "imports.txt").read_text() == "."
    assert hash_plugins(["~/mine.py"]) == {"~/mine.py": hashlib.sha256(COUNT_IMPORTS.encode()).hexdigest()}


def test_plugin_file_is_imported_again_after_an_error(working_directory: Path) -> None:
    (working_directory / "mine.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        import_plugins(["mine.py"])
    assert (describe(caught.value) or "").startswith("plugin 'mine.py': ZeroDivisionError: ")
    (working_directory / "mine.py").write_text(COUNT_IMPORTS)
    import_plugins(["mine.py"])
    assert (working_directory / "imports.txt").read_text() == "."


def test_plugin_module_is_found_in_the_working_directory(working_directory: Path) -> None:
    (working_directory / "midway_test_plugin").mkdir()
    (working_directory / "midway_test_plugin" / "__init__.py").write_text("")
    (working_directory / "midway_test_plugin" / "heads.py").write_text(COUNT_IMPORTS)
    check_plugins(["midway_test_plugin.heads", "json"])  # json stands for any installed module
    assert not (working_directory / "imports.txt").exists()
    import_plugins(["midway_test_plugin.heads"])
    assert (working_directory / "imports.txt").read_text() == "."


@pytest.mark.usefixtures("working_directory")
@pytest.mark.parametrize("plugin", ["no_such_module_here", "no_such_module_here.part", "missing.py", "~/missing.py"])
def test_missing_plugin_is_named_when_it_is_checked_or_imported(plugin: str) -> None:
    for check in (check_plugins, import_plugins):
        with pytest.raises(ValueError, match=plugin):
            check([plugin])


def test_module_that_a_plugin_cannot_import_is_not_reported_as_a_missing_plugin(working_directory: Path) -> None:
    (working_directory / "midway_test_needy.py").write_text("import no_such_module_here\n")
    check_plugins(["midway_test_needy"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        import_plugins(["midway_test_needy"])
    # The plugin itself raises an error that does not contain the name of a module.
    (working_directory / "midway_test_raising.py").write_text("raise ModuleNotFoundError('mine')\n")
    with pytest.raises(ModuleNotFoundError, match=r"^mine$"):
        import_plugins(["midway_test_raising"])


def test_installed_plugin_counts_as_user_code(working_directory: Path) -> None:
    (working_directory / "site-packages").mkdir()
    (working_directory / "site-packages" / "mine.py").write_text("")
    assert not is_user_code(str(working_directory / "site-packages" / "mine.py"))
    import_plugins(["site-packages/mine.py"])
    assert is_user_code(str(working_directory / "site-packages" / "mine.py"))


def test_plugin_that_exits_the_process_is_rejected(working_directory: Path) -> None:
    (working_directory / "script.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(ValueError, match=r"script\.py.*__main__"):
        import_plugins(["script.py"])


def test_hash_plugins_returns_file_hashes(working_directory: Path) -> None:
    content = b"size = 3\n"
    (working_directory / "mine.py").write_bytes(content)
    (working_directory / "midway_test_module.py").write_bytes(content)
    (working_directory / "midway_test_folder").mkdir()  # a namespace package, which has no file
    plugins = ["mine.py", "midway_test_module", "midway_test_folder"]
    import_plugins(plugins)
    assert hash_plugins(plugins) == dict.fromkeys(plugins[:2], hashlib.sha256(content).hexdigest())


def test_plugin_file_is_imported_again_if_it_has_changed(working_directory: Path) -> None:
    file = working_directory / "changing.py"
    code = "from heads import Head, register_head\n\n@register_head('changing')\nclass Mine(Head):\n    version = "
    with HEADS.isolated():
        file.write_text(f"{code}1\n")
        import_plugins(["changing.py"])
        first = HEADS["changing"]
        file.write_text(f"{code}22\n")
        import_plugins(["changing.py"])
        second = HEADS["changing"]
        import_plugins(["changing.py"])
        assert HEADS["changing"] is second
    assert (vars(first)["version"], vars(second)["version"]) == (1, 22)

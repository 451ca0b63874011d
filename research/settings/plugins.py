"""Import the user's own code (--plugin), so that it can register heads, hooks and other entries."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from research.system.manifest import file_sha256
from research.system.paths import expand_path
from research.system.user_code import ErrorsAttributedTo, treat_as_user_code

_imported: dict[str, tuple[Path, str]] = {}
"""Path and hash of each imported file, by the name of its module."""


def import_plugins(plugins: Sequence[str]) -> None:
    """Import the user's own code, so that its entries are registered.

    A file is imported again if it has changed, for example between two runs in a notebook.

    Args:
        plugins: paths of .py files, or names of modules that are installed or in the working directory.
    Raises:
        ValueError: if a file or module does not exist, or exits the process.
    """
    if plugins and os.getcwd() not in sys.path:  # Python adds only the script's directory
        sys.path.append(os.getcwd())
    for plugin in plugins:
        with ErrorsAttributedTo(f"plugin '{plugin}'"):
            try:
                if plugin.endswith(".py"):
                    _import_file(plugin)
                else:
                    _import_module(plugin)
            except SystemExit as error:
                raise ValueError(
                    f"The plugin {plugin} exits the process when it is imported; move code that should only run as a "
                    "script under if __name__ == '__main__'."
                ) from error


def check_plugins(plugins: Sequence[str]) -> None:
    """Check that plugins exist, without running any of them.

    Args:
        plugins: see `import_plugins`.
    Raises:
        ValueError: if a file or module does not exist.
    """
    for plugin in plugins:
        if plugin.endswith(".py"):
            _find_file(plugin)  # raises an error if it does not exist
            continue
        top = plugin.partition(".")[0]  # only the top-level package: finding a submodule would import its package
        if top not in sys.modules and importlib.machinery.PathFinder.find_spec(top, [os.getcwd(), *sys.path]) is None:
            raise ValueError(f"No module '{plugin}' for --plugin. If it is a file, include the suffix .py.")


def hash_plugins(plugins: Sequence[str]) -> dict[str, str]:
    """Return the hash of each plugin's file; files that the plugin imports are not hashed.

    Args:
        plugins: paths of .py files, or names of modules; they must have been imported.
    """
    hashes = {}
    for plugin in plugins:
        file = _find_file(plugin) if plugin.endswith(".py") else sys.modules[plugin].__file__
        if file is not None:  # a namespace package has no file
            hashes[plugin] = file_sha256(Path(file))
    return hashes


def _find_file(plugin: str) -> Path:
    path = expand_path(plugin)
    if not path.is_file():
        raise ValueError(f"There is no file {plugin} for --plugin; expected a .py file or the name of a module.")
    return path


def _import_module(plugin: str) -> None:
    spec = importlib.machinery.PathFinder.find_spec(plugin.partition(".")[0])
    if spec is not None:
        # The folders of a package, or the file of a module.
        paths = spec.submodule_search_locations or filter(None, [spec.origin])
        for path in paths:
            treat_as_user_code(Path(path))
    try:
        importlib.import_module(plugin)
    except ModuleNotFoundError as error:
        if error.name is None or not (plugin == error.name or plugin.startswith(f"{error.name}.")):
            raise
        raise ValueError(f"No module '{plugin}' for --plugin. If it is a file, include the suffix .py.") from None


def _import_file(plugin: str) -> None:
    path = _find_file(plugin)
    treat_as_user_code(path)
    name = f"midway_plugin_{path.resolve().stem}"
    version = (path.resolve(), file_sha256(path))
    if name in sys.modules and _imported.get(name) == version:
        return
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _imported[name] = version

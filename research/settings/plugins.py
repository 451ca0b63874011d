"""The user's own code: what --plugin names is imported, so that what it registers is there."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from research.system.manifest import file_sha256
from research.system.paths import look_up
from research.system.user_code import CodeOf, add_plugin


def import_plugins(plugins: Sequence[str]) -> None:
    """Import the user's own code, so that what it registers is there.

    Args:
        plugins: paths of .py files, or names of modules, installed ones or in the working directory.
    Raises:
        ValueError: if there is no such file or module, or it ends the process.
    """
    if plugins and os.getcwd() not in sys.path:  # a script's own directory is there instead
        sys.path.append(os.getcwd())
    for plugin in plugins:
        with CodeOf(f"plugin '{plugin}'"):
            try:
                if plugin.endswith(".py"):
                    _import_file(Path(plugin))
                else:
                    _import_module(plugin)
            except SystemExit as error:
                raise ValueError(
                    f"The plugin {plugin} ends the process when it is imported; put what only a script does under "
                    "if __name__ == '__main__'."
                ) from error


def check_plugins(plugins: Sequence[str]) -> None:
    """Refuse plugins that do not exist, without running any of them.

    Args:
        plugins: as for `import_plugins`.
    Raises:
        ValueError: if there is no such file or module.
    """
    for plugin in plugins:
        if plugin.endswith(".py"):
            _check_file(Path(plugin))
            continue
        top = plugin.partition(".")[0]  # to find a submodule, its package would have to be imported
        if top not in sys.modules and importlib.machinery.PathFinder.find_spec(top, [os.getcwd(), *sys.path]) is None:
            raise ValueError(f"No module '{plugin}' for --plugin; a file is given with its .py ending.")


def hash_plugins(plugins: Sequence[str]) -> dict[str, str]:
    """Return a hash of each plugin's file, as it was imported from; what it imports itself is not looked at.

    Args:
        plugins: paths of .py files, or names of modules; they are imported.
    """
    found = {}
    for plugin in plugins:
        file = plugin if plugin.endswith(".py") else sys.modules[plugin].__file__
        if file is not None:  # a package without a file of its own has none
            found[plugin] = file_sha256(Path(file))
    return found


def _check_file(path: Path) -> None:
    if not look_up(str(path)).is_file():
        raise ValueError(f"No plugin file {path}; --plugin takes a .py file or a module name.")


def _import_module(plugin: str) -> None:
    spec = importlib.machinery.PathFinder.find_spec(plugin.partition(".")[0])
    if spec is not None:
        places = spec.submodule_search_locations or filter(None, [spec.origin])
        for place in places:
            add_plugin(Path(place))
    try:
        importlib.import_module(plugin)
    except ModuleNotFoundError as error:
        if error.name is None or not (plugin == error.name or plugin.startswith(f"{error.name}.")):
            raise
        raise ValueError(f"No module '{plugin}' for --plugin; a file is given with its .py ending.") from None


def _import_file(path: Path) -> None:
    _check_file(path)
    add_plugin(path)
    name = f"midway_plugin_{path.resolve().stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path.resolve()):
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

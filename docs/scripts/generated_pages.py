"""MkDocs hook: adds the pages that are generated from the code and from files of the repository."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from metrics_page import metrics_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from model_script_pages import MODEL_SCRIPTS, page_of
from registry_pages import REGISTRY_PAGES, registry_page
from settings_pages import cache_settings_page, settings_page, study_settings_page, verify_settings_page

ROOT = Path(__file__).parents[2]


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _contributing() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


PAGES: dict[str, Callable[[], str]] = {
    "changelog.md": _changelog,
    "contributing.md": _contributing,
    "reference/settings.md": settings_page,
    "reference/study-settings.md": study_settings_page,
    "reference/verify-resume.md": verify_settings_page,
    "reference/cache.md": cache_settings_page,
    "reference/metrics.md": metrics_page,
    **{f"reference/{name}.md": partial(page_of, name) for name in MODEL_SCRIPTS},
    **{f"reference/{name}.md": partial(registry_page, page) for name, page in REGISTRY_PAGES.items()},
}
"""For each generated page, its path below docs/ and the function that returns its text."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files in docs/."""
    for path, generate in PAGES.items():
        files.append(File.generated(config, path, content=generate()))
    return files

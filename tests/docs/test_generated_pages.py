"""The generated pages have an anchor for every setting, every registered name and every metric."""

from __future__ import annotations

import re

import pytest
from metrics_page import metrics_page
from model_script_pages import MODEL_SCRIPTS, page_of
from registry_pages import REGISTRY_PAGES, registry_page
from settings_pages import cache_settings_page, settings_page, study_settings_page, verify_settings_page
from site_text import link_settings

from research.data.prepare.cache_command import CacheSettings
from research.settings.config import RunConfig
from research.settings.declarations import declarations
from research.settings.flags import INSPECTION_FLAGS
from research.settings.registries import REGISTRIES, load_registry
from research.studies.command import StudySettings, WorkerSettings
from research.studies.submission.settings import SubmitSettings
from research.tasks.base import TASKS
from tests.shipped import shipped_names


def anchors(page: str) -> list[str]:
    return re.findall(r"\{ #([\w/-]+) \}$", page, re.MULTILINE)


def test_every_setting_has_one_anchor() -> None:
    setting_anchors = [anchor for anchor in anchors(settings_page()) if not anchor.startswith("group-")]
    assert sorted(setting_anchors) == sorted([*declarations(RunConfig), *INSPECTION_FLAGS])
    assert set(declarations(StudySettings)) <= set(anchors(study_settings_page()))
    assert {f"submit-{name}" for name in declarations(SubmitSettings)} <= set(anchors(study_settings_page()))
    assert {f"work-{name}" for name in declarations(WorkerSettings)} <= set(anchors(study_settings_page()))
    assert "cuts" in anchors(verify_settings_page())
    assert set(declarations(CacheSettings)) <= set(anchors(cache_settings_page()))


@pytest.mark.parametrize("name", MODEL_SCRIPTS)
def test_page_of_model_script_describes_its_own_and_the_shared_settings(name: str) -> None:
    page = page_of(name)
    settings: type = MODEL_SCRIPTS[name].settings
    assert set(declarations(settings)) <= set(anchors(page))
    assert "a run directory, its model/ or best/ folder" in page


def test_setting_is_described_as_declared() -> None:
    page = settings_page()
    section = page[page.index("### `--batch_size`") : page.index("### `--micro_batch_size`")]
    declared = declarations(RunConfig)["batch_size"]
    assert "**Type:** integer. **Default:** `32`." in section
    for text in (str(declared.bounds), declared.unit, declared.effect.value, declared.why_fixed_in_forks):
        assert text is not None
        assert text in section


@pytest.mark.parametrize("name", REGISTRY_PAGES)
def test_every_registered_name_has_one_anchor(name: str) -> None:
    page = REGISTRY_PAGES[name]
    names = shipped_names(load_registry(page.listing))  # tests in the same process may have registered further names
    assert anchors(registry_page(page, names)) == names


def test_every_registry_has_a_page() -> None:
    # "pefts" has no page, since its entries are described by the edits, such as add_lora.
    assert {page.listing for page in REGISTRY_PAGES.values()} == set(REGISTRIES) - {"pefts"}


def test_every_metric_has_an_anchor() -> None:
    names = {metric.name for task in shipped_names(TASKS) for metric in TASKS[task].metrics}
    assert {*names, "loss"} <= set(anchors(metrics_page()))


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("as --lr says", "as [`--lr`](x.md#lr) says"),
        ("as `--lr` says", "as `--lr` says"),
        ("see --list heads.", "see [`--list heads`](heads.md)."),
        ("--head.<option>, --other", "[`--head.<option>`](x.md#head), `--other`"),
    ],
)
def test_link_settings_links_settings_outside_of_inline_code(text: str, linked: str) -> None:
    assert link_settings(text, ["lr", "head", "list"], "x.md") == linked

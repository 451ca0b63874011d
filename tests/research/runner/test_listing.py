"""Output of --list, and of --help for a chosen head or hook."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.runner.listing import describe_choices, describe_listing
from research.settings.registries import REGISTRIES, load_registry

PLUGIN = '''
from heads.linear import LinearHead
from heads import register_head

@register_head("listed")
class Listed(LinearHead):
    """A head to be listed.

    Args:
        width: the width.
    """

    def __init__(self, encoder, num_labels, *, width: int = 9):
        super().__init__(encoder, num_labels)
'''


@pytest.mark.parametrize("listing", REGISTRIES)
def test_every_registered_name_is_listed(listing: str) -> None:
    lines = describe_listing(listing, []).splitlines()
    assert set(load_registry(listing)) <= set(lines)


def test_listing_includes_heads_of_plugins_with_their_options(tmp_path: Path) -> None:
    plugin = tmp_path / "listed.py"
    plugin.write_text(PLUGIN)
    lines = describe_listing("heads", [str(plugin)]).splitlines()
    following_lines = lines[lines.index("listed") + 1 :]
    assert "A head to be listed." in following_lines[0]
    assert [part in following_lines[1] for part in ("width", "int", "9", "the width")] == [True] * 4


def test_listing_includes_arguments_of_edits_but_not_the_numbers_of_steps_that_schedules_receive() -> None:
    assert "factor" in describe_listing("edits", [])
    assert "num_warmup_steps" not in describe_listing("schedules", [])


def test_describe_choices_lists_options_under_the_prefix_of_their_flags() -> None:
    text = describe_choices([("head", "lstm"), ("hook", "ema")], [])
    head, hook = text.index("--head.<option>"), text.index("--hook.ema.<option>")
    assert head < text.index("lstm_size") < hook < text.index("decay")

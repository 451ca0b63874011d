"""What --list and the help of a choice print."""

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
    """A head for a list.

    Args:
        width: how wide it is.
    """

    def __init__(self, encoder, num_labels, *, width: int = 9):
        super().__init__(encoder, num_labels)
'''


@pytest.mark.parametrize("listing", REGISTRIES)
def test_every_entry_is_listed(listing: str) -> None:
    lines = describe_listing(listing, []).splitlines()
    assert set(load_registry(listing)) <= set(lines)


def test_entries_come_with_their_options_and_own_ones_too(tmp_path: Path) -> None:
    plugin = tmp_path / "listed.py"
    plugin.write_text(PLUGIN)
    lines = describe_listing("heads", [str(plugin)]).splitlines()
    after = lines[lines.index("listed") + 1 :]
    assert "A head for a list." in after[0]
    assert [part in after[1] for part in ("width", "int", "9", "how wide it is")] == [True] * 4


def test_arguments_of_an_edit_and_no_steps_of_a_schedule_are_listed() -> None:
    assert "factor" in describe_listing("edits", [])
    assert "num_warmup_steps" not in describe_listing("schedules", [])


def test_options_of_choices_are_named_as_flags() -> None:
    text = describe_choices([("head", "lstm"), ("hook", "ema")], [])
    head, hook = text.index("--head.<option>"), text.index("--hook.ema.<option>")
    assert head < text.index("lstm_size") < hook < text.index("decay")

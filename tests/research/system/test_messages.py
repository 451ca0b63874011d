"""Messages for the user: which process prints them, and in which format."""

from __future__ import annotations

import pytest

from research.system.messages import KEEP_LINE_BREAKS, WARNING, is_main_process, logger, messages_muted


def test_messages_are_printed_literally_and_warnings_have_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    logger.debug("never")
    logger.info("100% of [b]reviews[/b]")
    logger.warning("few rows")
    assert capsys.readouterr() == (f"100% of [b]reviews[/b]\n{WARNING}few rows\n", "")


def test_line_breaks_are_kept_only_in_messages_marked_as_multi_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger.info("a name\nwith a line")
    logger.info("two\nlines\x1b", extra=KEEP_LINE_BREAKS)
    assert capsys.readouterr().out == "a name\\nwith a line\ntwo\nlines\\x1b\n"


@pytest.mark.parametrize(("rank", "is_main"), [("0", True), ("1", False), (None, True)])
def test_only_the_main_process_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str | None, is_main: bool
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    logger.info("once")
    assert is_main_process() == is_main
    assert capsys.readouterr().out == ("once\n" if is_main else "")


def test_muted_messages_are_not_printed_even_in_nested_contexts(capsys: pytest.CaptureFixture[str]) -> None:
    with messages_muted():
        with messages_muted():
            logger.info("inner")
        logger.warning("outer")
    logger.info("after")
    assert capsys.readouterr().out == "after\n"

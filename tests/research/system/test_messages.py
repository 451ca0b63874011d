"""Messages for the user: who prints them, and how."""

from __future__ import annotations

import pytest

from research.system.messages import WARNING, WITH_LINES, is_main_process, logger, muted


def test_information_is_printed_as_it_is_and_warnings_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    logger.debug("never")
    logger.info("100% of [b]reviews[/b]")
    logger.warning("few rows")
    assert capsys.readouterr() == (f"100% of [b]reviews[/b]\n{WARNING}few rows\n", "")


def test_lines_are_kept_only_where_a_message_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logger.info("a name\nwith a line")
    logger.info("two\nlines\x1b", extra=WITH_LINES)
    assert capsys.readouterr().out == "a name\\nwith a line\ntwo\nlines\\x1b\n"


@pytest.mark.parametrize(("rank", "is_main"), [("0", True), ("1", False), (None, True)])
def test_main_process_alone_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str | None, is_main: bool
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    logger.info("once")
    assert is_main_process() == is_main
    assert capsys.readouterr().out == ("once\n" if is_main else "")


def test_nothing_is_printed_while_muted_even_where_that_is_nested(capsys: pytest.CaptureFixture[str]) -> None:
    with muted():
        with muted():
            logger.info("inner")
        logger.warning("outer")
    logger.info("after")
    assert capsys.readouterr().out == "after\n"

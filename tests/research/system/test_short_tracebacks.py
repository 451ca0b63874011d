"""Errors that notebooks show without a traceback."""

from research.system.short_tracebacks import without_traceback


def test_without_traceback_keeps_the_class_and_the_message() -> None:
    try:
        int("x")
    except ValueError as error:
        shortened = without_traceback(error)
    assert type(shortened) is ValueError
    assert shortened.__traceback__ is None
    assert shortened._render_traceback_() == [f"ValueError: {shortened}"]  # type: ignore[attr-defined]

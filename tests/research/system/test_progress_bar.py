"""Progress bars are shown where somebody can see them."""

import pytest
import tqdm
import tqdm.auto

from research.system.progress_bar import open_bar


def test_open_bar_uses_the_bar_of_the_terminal_or_the_notebook() -> None:
    with open_bar(total=2) as bar:
        assert isinstance(bar, tqdm.auto.tqdm)
        assert bar.disable  # pytest captures the output


def test_open_bar_prints_in_processes_that_a_notebook_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.system.progress_bar.was_forked_by_notebook", lambda: True)
    with open_bar(total=2) as bar:
        assert type(bar) is tqdm.tqdm
        assert bar.disable


def test_open_bar_is_disabled_on_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with open_bar(total=2) as bar:
        assert bar.disable

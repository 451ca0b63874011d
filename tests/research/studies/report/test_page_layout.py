"""The page of a study in a browser: narrow and dark windows, sorting, many arms, and structure for screen readers."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from research import RunConfig, run_experiment
from research.records.palette import ON_DARK, PAPER
from research.studies.report.contents import collect_contents
from research.studies.report.costs import ArmCost, TrialCost
from research.studies.report.page import write_contents
from research.studies.report.styles import MANY_ARMS
from tests.browser import needs_chromium
from tests.builders.studies import FAST_SETTINGS, table_cells
from tests.devtools import Page, open_browser
from tests.research.studies.report.made_up import made_up_study

ACCURACIES = {f"head={name}, lr=0.0001": 0.7 + 0.003 * (index % 7) for index, name in enumerate("abcdefghij")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


@pytest.fixture(scope="module")
def made_up_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of ten arms with made-up values."""
    return write_contents(collect_contents(made_up_study(tmp_path_factory.mktemp("ten"), ACCURACIES)))


@pytest.fixture(scope="module")
def run_page(
    use_session_cache: None, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The report of a single run."""
    directory = tmp_path_factory.mktemp("run") / "run"
    settings: dict[str, Any] = {
        **FAST_SETTINGS,
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "report": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # accelerate emits warnings
        run_experiment(RunConfig(**settings, evaluate_every="2st", output_dir=str(directory)))
    return directory / "report.html"


def open_file(browser: Page, path: Path, *, width: int = 1280, dark: bool = False) -> None:
    browser.open(path.as_uri(), width=width, dark=dark)
    browser.wait_for(f"document.readyState === 'complete' && location.href === {path.as_uri()!r}")


@needs_chromium
def test_difference_and_p_are_visible_on_a_phone(browser: Page, made_up_page: Path) -> None:
    open_file(browser, made_up_page, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    titles = browser.evaluate(
        "[...document.querySelectorAll('#ranking thead th')].filter(title => "
        "title.getBoundingClientRect().right <= innerWidth).map(title => title.textContent)"
    )
    assert [re.split(r"[,(]", title)[0].strip() for title in titles] == ["arm", "mean", "difference", "p"]


@needs_chromium
def test_costs_fit_into_the_window_of_a_laptop(browser: Page, tmp_path: Path) -> None:
    arms = ["timeline=50% replace_head lstm (lstm_size 64)", "timeline=none"]
    contents = collect_contents(made_up_study(tmp_path, dict.fromkeys(arms, 0.7)))
    cost = TrialCost(1234.5, False, 109_482_240, 54_741_120.5, 109_482_240, 12.345, changes_midway=True)
    contents.costs = [ArmCost(arm, dict.fromkeys(range(6), cost)) for arm in arms]
    open_file(browser, write_contents(contents))
    overflow = browser.evaluate(
        "(box => box.scrollWidth - box.clientWidth)(document.querySelector('#costs').parentElement)"
    )
    assert overflow == 0


@needs_chromium
@pytest.mark.parametrize("name", ["study", "run"])
def test_pages_and_their_figures_have_dark_colours(browser: Page, page: Path, run_page: Path, name: str) -> None:
    open_file(browser, page if name == "study" else run_page, dark=True)
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(ON_DARK[PAPER][index : index + 2], 16) for index in (1, 3, 5))
    assert background == f"rgb({red}, {green}, {blue})"
    # The corner of each figure has the colour of the page.
    corners = browser.evaluate(
        """[...document.images].map(image => {
            const canvas = document.createElement('canvas');
            canvas.getContext('2d').drawImage(image, 0, 0, 300, 150);
            return [...canvas.getContext('2d').getImageData(1, 1, 1, 1).data].slice(0, 3).join();
        })"""
    )
    assert corners
    assert set(corners) == {f"{red},{green},{blue}"}
    assert browser.errors == []


@needs_chromium
def test_tables_are_sorted_by_keyboard_and_say_so(browser: Page, made_up_page: Path) -> None:
    open_file(browser, made_up_page)
    state = """(() => {
        const title = document.querySelectorAll('#ranking thead th')[%d];
        %s
        return [title.getAttribute('aria-sort'), [...document.querySelector('#ranking').tBodies[0].rows].map(
            row => row.cells[%d].dataset.sort ?? row.cells[%d].textContent.trim())];
    })()"""
    for column in (1, 2):  # means; differences, of which the baseline has none
        press = "title.querySelector('button').focus(); document.activeElement.click();"
        order, values = browser.evaluate(state % (column, press, column, column))
        numbers = [float(value) for value in values if value]
        assert (order, numbers) == ("ascending", sorted(numbers))
        assert all(value for value in values[: len(numbers)]), "empty cells are last"
        order, values = browser.evaluate(state % (column, press, column, column))
        numbers = [float(value) for value in values if value]
        assert (order, numbers) == ("descending", sorted(numbers, reverse=True))
        assert all(value for value in values[: len(numbers)]), "empty cells are last"
    assert browser.evaluate("document.querySelectorAll('#ranking [aria-sort]').length") == 1
    assert browser.errors == []


@pytest.mark.parametrize("name", ["study", "run"])
def test_pages_have_landmarks_scopes_captions_and_alternative_texts(page: Path, run_page: Path, name: str) -> None:
    text = (page if name == "study" else run_page).read_text(encoding="utf-8")
    for landmark in ("<header>", "<main>", '<nav aria-label="Sections">'):
        assert text.count(landmark) == 1
    links = re.findall(r'<li><a href="#([^"]+)">', text)
    assert links
    assert all(text.count(f'id="{link}"') == 1 for link in links)
    headers = re.findall(r"<th\b[^>]*>", text)
    assert headers
    assert all('scope="col"' in header or 'scope="row"' in header for header in headers)
    assert len(re.findall(r"<table\b", text)) == text.count("<caption>")
    alternative_texts = [html.unescape(alt) for alt in re.findall(r'<img [^>]*alt="([^"]*)"', text)]
    assert alternative_texts
    assert all(re.search(r"\. .*\d", alt) for alt in alternative_texts), "a text without numbers"


def test_alternative_text_of_the_ranking_has_means_and_intervals(made_up_page: Path) -> None:
    text = made_up_page.read_text(encoding="utf-8")
    (alt,) = re.findall(r'alt="(Means, [^"]*)"', text)
    for row in table_cells("ranking", text):
        mean, interval = row[1].split(maxsplit=1)
        assert f"{mean} ({interval})" in alt


@needs_chromium
def test_names_of_arms_break_between_settings_but_not_in_numbers(browser: Page, made_up_page: Path) -> None:
    open_file(browser, made_up_page, width=390)
    lines_of_numbers = browser.evaluate(
        """[...document.querySelectorAll('#ranking th.arm')].slice(1).map(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell.lastChild);
            return [range.toString(), range.getClientRects().length];
        })"""
    )
    assert lines_of_numbers == [["0.0001", 1]] * len(ACCURACIES)


def test_decimals_are_equal_down_each_column(made_up_page: Path) -> None:
    rows = table_cells("ranking", made_up_page.read_text(encoding="utf-8"))
    for column in (1, 2, 3, 5, 6):
        decimals = {len(number) for row in rows for number in re.findall(r"\.(\d+)", row[column])}
        assert len(decimals) == 1, column


def test_best_arm_section_is_exploratory_and_has_no_verdict(made_up_page: Path) -> None:
    text = made_up_page.read_text(encoding="utf-8")
    section = text[text.index('id="section-best"') : text.index('id="section-settings"')]
    assert "xploratory" in section
    assert "verdict" not in section.lower()
    names = [row[0].split(maxsplit=1)[1] for row in table_cells("ranking", text)]
    assert [row[0].split(maxsplit=1)[1] for row in table_cells("best", text)] == names[1:]
    runner_up = re.search(r'id="runner-up">(.*?)</p>', text.replace("<wbr>", ""))
    assert runner_up is not None
    assert names[0] in runner_up[1]
    assert names[1] in runner_up[1]


@needs_chromium
def test_page_of_many_arms_is_compact(browser: Page, tmp_path: Path) -> None:
    arms = {f"arm {index}": 0.6 + 0.001 * index for index in range(MANY_ARMS + 1)}
    contents = collect_contents(made_up_study(tmp_path, arms))
    assert contents.has_many_arms
    assert contents.drawn_arms == [f"arm {MANY_ARMS}", "arm 0"]  # the best and the baseline
    path = write_contents(contents)
    open_file(browser, path)
    assert browser.evaluate("document.querySelector('#best').closest('details').open") is False
    assert len(table_cells("best", path.read_text(encoding="utf-8"))) == MANY_ARMS


@needs_chromium
def test_page_of_fifty_arms_is_short_on_the_screen_and_in_print(browser: Page, tmp_path: Path) -> None:
    arms = {f"arm {index}": 0.6 + 0.001 * index for index in range(50)}
    open_file(browser, write_contents(collect_contents(made_up_study(tmp_path, arms))))
    assert browser.evaluate("document.documentElement.scrollHeight") < 8000  # pixels; 5,426 when the test was written
    assert browser.count_printed_pages() <= 8  # 6 when the test was written


@needs_chromium
def test_printing_does_not_unfold_details(browser: Page, made_up_page: Path) -> None:
    open_file(browser, made_up_page)
    as_opened = browser.count_printed_pages()
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    unfolded = browser.count_printed_pages()
    browser.evaluate("document.querySelectorAll('details > :not(summary)').forEach(each => each.remove())")
    without_details = browser.count_printed_pages()
    assert as_opened == without_details < unfolded

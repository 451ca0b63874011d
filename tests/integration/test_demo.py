"""demo.py serves a page that classifies texts, here in a real browser."""

from __future__ import annotations

import importlib.util
import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from research import RunConfig
from research.model.build_model import build_model
from research.model.encoders import load_tokenizer
from research.model.input_settings import InputSettings
from research.tasks.base import TASKS
from tests.browser import needs_chromium
from tests.conftest import BackgroundCommand, Launch, Start
from tests.devtools import Page, open_browser

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio (the extra demo_page)"),
]

HOSTILE_TEXT = "<b id='injected'>good</b> ${1+1} {{value}} & was"
WIDTHS = (1280, 390)
TOKEN_COLOURS = """[...document.querySelectorAll('.tokens .token')].map(
    token => [token.innerText, getComputedStyle(token).backgroundColor])"""


@dataclass(frozen=True)
class Served:
    """A page of demo.py in a browser."""

    page: Page
    address: str
    command: BackgroundCommand


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_browser() as page:
        yield page


@pytest.fixture
def serve(start: Start, browser: Page) -> Iterator[Serve]:
    """Return a function that serves a model and opens its page."""

    def serve_model(model: Path, *arguments: object) -> Served:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = start([model, "--port", port, *arguments], script="demo.py")
        command.wait_for("the address", lambda: "The page is at" in command.read_output())
        address = re.search(r"http://\S+", command.read_output())
        assert address is not None
        browser.requested_urls.clear()
        browser.errors.clear()
        browser.open(address[0], width=WIDTHS[0])
        browser.wait_for("document.querySelector('#predict') && !document.body.innerText.includes('Loading...')")
        return Served(browser, address[0], command)

    yield serve_model
    browser.open("about:blank", width=WIDTHS[0])  # before the server ends, which would cause errors in the console


@pytest.fixture(scope="module")
def attention_run(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run with an attention head."""
    directory = tmp_path_factory.mktemp("runs") / "my-attention"
    settings = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--head", "attention", "--max_length", 12]
    settings += ["--max_steps", 2, "--report", "false", "--log_with", "[]", "--mixed_precision", "no"]
    launch([*settings, "--output_dir", directory])
    return directory


def save_model(folder: Path, encoder: Path, *, task: str, labels: tuple[str, ...], pair: bool) -> None:
    """Save a model with random weights, as an exported folder contains it."""
    torch.manual_seed(0)
    model = build_model(RunConfig(encoder=str(encoder), head="mean", max_length=12), TASKS[task](label_names=labels))
    columns = ("question", "answer") if pair else ("text",)
    model.config.inputs = InputSettings(task, text_columns=columns).to_config()
    model.save_pretrained(folder)
    load_tokenizer(str(encoder)).save_pretrained(folder)


def assert_fits(page: Page) -> None:
    """Check that the page is not wider than a large and a narrow window."""
    for width in WIDTHS:
        page.resize(width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.resize(WIDTHS[0])


def assert_is_clean(served: Served) -> None:
    """Check that the page had no errors, and requested nothing from other hosts."""
    assert served.page.errors == []
    assert served.page.requested_urls
    assert [url for url in served.page.requested_urls if not url.startswith((served.address, "data:"))] == []


def test_page_shows_scores_and_attention_weights(serve: Serve, attention_run: Path, tmp_path: Path) -> None:
    (tmp_path / "examples.txt").write_text("the film was warm\na very dull plot\n")
    served = serve(attention_run, "--examples", tmp_path / "examples.txt")
    page = served.page
    about = page.text(".facts-block")
    for words in ("my-attention", "attention", "tiny", "reviews", "test accuracy"):
        assert words in about
    page.wait_for("document.body.innerText.includes('a very dull plot')")

    page.click("#predict")
    page.wait_for("document.querySelector('#scores').innerText.includes('Enter a text')")
    page.type("textarea", f"the film {HOSTILE_TEXT} bad and cold and dull and the plot was very very fine")
    page.click("#predict")
    page.wait_for("document.querySelector('.prediction') && document.querySelector('.legend')")
    percentages = re.findall(r"([\d.]+)%", page.text("#scores"))
    assert sum(map(float, percentages)) == pytest.approx(100, abs=0.11)
    assert page.text("#scores strong") in ("negative", "positive")
    colours = dict(page.evaluate(TOKEN_COLOURS))
    assert {"the", "film", "fine"} <= colours.keys()
    assert len(set(colours.values())) > 1
    assert "cold and dull" in page.text(".tokens .truncated")
    assert not {"cold", "dull"} & colours.keys()
    assert "attention weights of the head" in page.text(".legend")
    assert HOSTILE_TEXT in page.text(".tokens")
    assert page.evaluate("document.querySelector('#injected')") is None
    assert_fits(page)
    assert_is_clean(served)

    page.save_screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    served.command.process.send_signal(signal.SIGINT)
    assert served.command.wait() == 0


def test_page_predicts_pasted_rows(serve: Serve, attention_run: Path) -> None:
    served = serve(attention_run)
    page = served.page
    page.evaluate("[...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText == 'Several rows').click()")
    page.wait_for("document.querySelector('#predict-rows')")
    page.click("#predict-rows")
    page.wait_for("document.querySelector('#table').innerText.includes('at least one row')")
    page.type("#rows textarea", f"the film was good\n\n{HOSTILE_TEXT}\n{'very ' * 2000}bad")
    page.click("#predict-rows")
    page.wait_for("document.querySelector('#table table')")
    cells = page.evaluate(
        "[...document.querySelectorAll('#table tr')].map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert cells[0] == ["text", "prediction", "negative", "positive"]
    assert [row[0] for row in cells[1:3]] == ["the film was good", HOSTILE_TEXT]
    assert [float(row[2]) + float(row[3]) for row in cells[1:]] == pytest.approx([1, 1, 1], abs=2e-4)
    csv = page.evaluate("fetch(document.querySelector('.download').href).then(response => response.text())")
    assert csv.splitlines()[0] == "text,prediction,score_negative,score_positive"
    assert len(csv.splitlines()) == 4
    assert_fits(page)
    assert_is_clean(served)


@pytest.mark.parametrize(
    ("task", "labels", "legend"),
    [("regression", ("similarity",), "raises similarity"), ("multi_label", ("joy", "anger", "fear"), "speaks for ")],
)
def test_page_explains_pairs_with_gradient_x_input(
    serve: Serve, tiny_encoder: Path, tmp_path: Path, task: str, labels: tuple[str, ...], legend: str
) -> None:
    save_model(tmp_path / "exported", tiny_encoder, task=task, labels=labels, pair=True)
    served = serve(tmp_path / "exported")
    page = served.page
    assert "question" in page.text("body")
    page.type("#text-0 textarea", "the film was very good")
    page.click("#predict")
    page.wait_for("document.querySelector('#scores').innerText.includes('Enter both texts')")
    page.type("#text-1 textarea", "a dull and cold plot and a very bad film")
    page.click("#predict")
    page.wait_for("document.querySelector('.prediction') && document.querySelector('.legend')")
    assert all(label in page.text("#scores") for label in labels)
    assert page.evaluate("document.querySelectorAll('.threshold').length") == (3 if task == "multi_label" else 0)
    assert page.evaluate("document.querySelectorAll('.tokens').length") == 2
    assert page.evaluate("document.querySelectorAll('.tokens .truncated').length") > 0
    assert f"gradient x input: {legend}" in page.text(".legend")
    assert page.evaluate("document.querySelectorAll('.token.for').length") > 0
    assert page.evaluate("document.querySelectorAll('.token.against').length") > 0
    assert_fits(page)
    assert_is_clean(served)

"""Names and texts with terminal sequences, HTML, Markdown, TeX or formulas are shown safely in all outputs."""

from __future__ import annotations

import base64
import contextlib
import csv
import dataclasses
import html
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from research import RunConfig
from research.records.figures import confusion_matrix_figure
from research.report.rendering import embed_figure
from research.runner.dry_run import describe_dry_run, plan_and_rehearse
from research.runner.dry_run_figure import timeline_figure
from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.run_study import report_results
from research.system.plain_text import LONGEST_IN_PAGE, for_csv, for_markdown, for_terminal, shorten
from research.system.terminal import Terminal
from research.tasks.single_label import SingleLabel
from tests.builders.studies import FAST_SETTINGS, run_study

RTL_MARK = "\u200f"  # right-to-left mark, which is invisible
LONG_NAME = "very " * 500 + "long"
NAMES = (
    "\x1b[31mred",
    "\u202eright",
    f"a b{RTL_MARK}",
    "$x$",
    "$",
    "a|b",
    "two\nlines",
    "<script>alert(1)</script>",
    "=1+1",
    "_hidden",
    "[/b]",
    ":smile:",
    "`code`",
    LONG_NAME,
)
"""Names that a terminal, a browser, Markdown, TeX or a spreadsheet would interpret."""
ARM = "=" + " ".join(NAMES[:-1])
"""Name of an arm: it starts like a formula and contains all NAMES except the long one."""
CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and line break, and invisible characters that change the direction of text."""


@dataclass(frozen=True)
class StudyOutput:
    """A study whose arms, labels and texts contain NAMES, and its terminal output."""

    study: StudyOutcomes
    printed: str


@pytest.fixture(scope="module")
def output(use_session_cache: None, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyOutput:
    """Run a study of two arms on rows with all NAMES as labels and in texts."""
    folder = tmp_path_factory.mktemp("nasty")
    (folder / "data").mkdir()
    for split in ("train", "validation", "test"):
        # Pages keep a right-to-left mark in texts, since each text is in an element of its own. The mark is removed
        # here, so that the tests can require pages without any control characters.
        rows = [{"text": f"{split} good {name[:40].strip(RTL_MARK)}", "label": [name]} for name in NAMES]
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = {**FAST_SETTINGS, "report": True, "encoder": str(tiny_encoder), "data": str(folder / "data")}
    arms: dict[str, dict[str, Any]] = {
        ARM: {},
        LONG_NAME: {
            "timeline": [{"at": "50%", "set_dropout": {"modules": "head", "p": 0.3}}],
            "log_with": ["tensorboard"],
        },
    }
    spec = StudySpec(name="nasty", about=f"- {NAMES[1]}", base=base, arms=arms)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        study = run_study(folder / "runs", spec)
        failed = Outcome(
            dataclasses.replace(study.outcomes[1].trial, seed=1),
            folder,
            "failed",
            error=ARM.replace(RTL_MARK, ""),  # without the mark, as in the texts
        )
        study = dataclasses.replace(study, outcomes=[*study.outcomes, failed])
        report_results(Terminal(file=printed), study)
    return StudyOutput(study, printed.getvalue())


def figure_texts_of(page: str) -> list[str]:
    """Return the text in all figures of a page, which must be valid XML."""
    sources = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    return ["\n".join(ET.fromstring(base64.b64decode(source)).itertext()) for source in sources]


def cells_of(page: str) -> list[str]:
    """Return the unescaped cells of all tables."""
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in cells]


def as_shown_on_pages(names: Sequence[str]) -> list[str]:
    """Return the names in the form shown on pages."""
    return [for_terminal(name, keep_lines=True) for name in names]


def test_terminal_output_has_no_control_sequences(output: StudyOutput) -> None:
    assert CONTROL_CHARACTERS.findall(output.printed) == []
    metrics = {line.split("│")[1].strip() for line in output.printed.splitlines() if line.startswith("│ f1/")}
    assert {f"f1/{for_terminal(name)}" for name in NAMES if name != LONG_NAME} <= metrics
    error = for_terminal(ARM.replace(RTL_MARK, ""), keep_lines=True)  # errors are on separate lines
    assert f"failed: {for_terminal(LONG_NAME)}, seed 1: {error}" in output.printed


def test_pages_show_names_without_control_characters(output: StudyOutput) -> None:
    pages = [output.study.directory / "report.html"]
    pages += [outcome.directory / "report.html" for outcome in output.study.finished]
    for path in pages:
        page = path.read_text(encoding="utf-8")
        assert CONTROL_CHARACTERS.findall(page) == []
        assert page.count("<script") == 1  # sorts tables
        assert {*as_shown_on_pages(NAMES[:-1]), shorten(LONG_NAME, LONGEST_IN_PAGE)} <= set(cells_of(page)), path
        assert LONG_NAME not in re.sub(r'title="[^"]*"', "", page), path
        figure_texts = figure_texts_of(page)
        assert figure_texts
        assert not CONTROL_CHARACTERS.search("".join(figure_texts))
    study_page = pages[0].read_text(encoding="utf-8")
    assert any(r"=\x1b[31mred" in text for text in figure_texts_of(study_page))


def test_markdown_and_csv_show_escaped_names(output: StudyOutput) -> None:
    markdown = (output.study.directory / "report.md").read_text(encoding="utf-8")
    assert CONTROL_CHARACTERS.findall(markdown) == []
    assert "$" not in markdown
    assert f"\n\\- {for_markdown(NAMES[1])}\n" in markdown  # the text of `about` is not shown as a list
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert {for_markdown(name) for name in NAMES} <= {re.split(r"(?<!\\) ?\| ?", row)[1] for row in rows}
    with (output.study.directory / "results.csv").open(newline="", encoding="utf-8") as file:
        csv_rows = list(csv.DictReader(file))
    assert [row["arm"] for row in csv_rows] == [for_csv(ARM), LONG_NAME, LONG_NAME]
    assert not CONTROL_CHARACTERS.search("".join(csv_rows[0]))


def test_tensorboard_gets_texts_and_images(output: StudyOutput) -> None:
    events = EventAccumulator(str(next((output.study.outcomes[1].directory / "tensorboard").rglob("events*"))))
    events.Reload()
    assert {"config/text_summary", "edits/text_summary"} <= set(events.Tags()["tensors"])
    assert any("precision_recall" in tag for tag in events.Tags()["images"])


def test_figures_and_the_dry_run_show_names_without_control_characters(output: StudyOutput) -> None:
    labels = np.arange(len(NAMES))
    task = SingleLabel(NAMES, label_counts=(1,) * len(NAMES), num_train=len(NAMES))
    matrix = confusion_matrix_figure(task, labels, labels)
    config = output.study.outcomes[1].trial.config()
    plan = plan_and_rehearse(RunConfig(**{**config.to_dict(), "log_with": []}))
    edits = [dataclasses.replace(plan.edits[-1], arguments={"modules": NAMES[:4]})]
    printed = io.StringIO()
    Terminal(file=printed).print(describe_dry_run(dataclasses.replace(plan, edits=edits)))
    assert CONTROL_CHARACTERS.findall(printed.getvalue()) == []
    for figure in (matrix, timeline_figure(plan.steps, edits)):
        (figure_text,) = figure_texts_of(f'src="{embed_figure("", figure).source}"')
        assert "$x$" in figure_text
        assert not CONTROL_CHARACTERS.search(figure_text)

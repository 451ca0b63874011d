"""Tables for papers have the values of the study, mark the best arms, and compile."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from research.studies.report.contents import collect_contents
from research.studies.report.latex import costs_table, ranking_table
from research.system.plain_text import for_latex
from tests.builders.studies import HOSTILE
from tests.limits import HANG_LIMIT
from tests.research.studies.report.made_up import made_up_study

PDFLATEX = shutil.which("pdflatex")
needs_pdflatex = pytest.mark.skipif(
    PDFLATEX is None,
    reason="needs pdflatex with booktabs and tabularx (Debian: apt-get install texlive-latex-recommended)",
)
ACCURACIES = {"linear": 0.7, "mean": 0.801, "lstm": 0.8, "gru": 0.79}


def rows_of(table: str | None) -> list[list[str]]:
    """Return the cells of the body of a table."""
    assert table is not None
    body = table[table.index(r"\midrule") : table.index(r"\bottomrule")]
    return [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()[1:]]


def caption_of(table: str | None) -> str:
    assert table is not None
    (caption,) = re.findall(r"\\caption\{(.*)\}", table)
    return str(caption)


def test_ranking_has_the_best_in_bold_and_marks_arms_that_do_not_differ_from_it(tmp_path: Path) -> None:
    contents = collect_contents(made_up_study(tmp_path, ACCURACIES))
    table = ranking_table(contents)
    rows = rows_of(table)
    assert [row[0] for row in rows] == [r"\textbf{mean}", "lstm", "gru", "linear"]
    assert [r"\dagger" in row[1] for row in rows] == [False, True, False, False]
    for row, each in zip(rows, contents.ranked, strict=True):
        assert f"{each.summary.mean:.4f}" in row[1]
        assert each.summary.interval is not None
        assert row[2] == "$[{:.4f}, {:.4f}]$".format(*each.summary.interval)
        if each.comparison is None:
            assert row[3:] == ["baseline", "", ""]
        else:
            assert row[3] == f"${each.comparison.mean_difference:+.4f}$"
            p = each.comparison.p_holm
            assert p is not None
            assert row[5] == ("$< 0.0001$" if p < 0.0001 else f"${p:.4f}$")
    for words in ("accuracy", "test rows", "6 seeds", "paired $t$ test", "Holm", "3 comparisons", "exploratory"):
        assert words in caption_of(table)


def test_marks_are_not_exploratory_if_the_best_arm_is_the_baseline(tmp_path: Path) -> None:
    table = ranking_table(collect_contents(made_up_study(tmp_path, ACCURACIES, "mean")))
    assert [r"\dagger" in row[1] for row in rows_of(table)] == [False, True, False, False]
    assert "exploratory" not in caption_of(table)


def test_table_without_verdicts_has_no_marks_and_gives_the_reason(tmp_path: Path) -> None:
    table = ranking_table(collect_contents(made_up_study(tmp_path, ACCURACIES, seeds=[0, 1])))
    assert not any(r"\dagger" in cell for row in rows_of(table) for cell in row)
    assert "No verdict for any arm" in caption_of(table)
    assert "2 seeds" in caption_of(table)


def test_study_without_results_has_no_tables(tmp_path: Path) -> None:
    study = made_up_study(tmp_path, ACCURACIES)
    waiting = [dataclasses.replace(outcome, state="waiting", result=None) for outcome in study.outcomes]
    contents = collect_contents(dataclasses.replace(study, outcomes=waiting))
    assert (ranking_table(contents), costs_table(contents)) == (None, None)


def test_caption_says_when_lower_is_better(tmp_path: Path) -> None:
    study = made_up_study(tmp_path, ACCURACIES)
    assert "lower is better" not in caption_of(ranking_table(collect_contents(study)))
    for outcome in study.outcomes:
        assert outcome.result is not None
        metrics = outcome.result["metrics"]
        outcome.result["metrics"] = {split: {"mse": values["accuracy"]} for split, values in metrics.items()}
    study = dataclasses.replace(study, spec=dataclasses.replace(study.spec, metric="mse"))
    table = ranking_table(collect_contents(study))
    assert "Mean mse (lower is better) on test rows" in caption_of(table)
    assert rows_of(table)[0][0] == r"\textbf{linear}"  # the lowest


def compile_latex(directory: Path, body: str) -> str:
    """Compile a document with the page and the two columns of the conferences of the ACL, and return its log.

    Args:
        directory: directory for the files.
        body: what the document contains.
    """
    document = directory / "paper.tex"
    document.write_text(
        r"\documentclass[11pt,twocolumn]{article}\usepackage[a4paper,margin=2.5cm,columnsep=0.6cm]{geometry}"
        rf"\usepackage{{booktabs,tabularx}}\begin{{document}}{body}\end{{document}}",
        encoding="utf-8",
    )
    assert PDFLATEX is not None
    done = subprocess.run(
        [PDFLATEX, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", document.name],
        cwd=directory,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=HANG_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (directory / "paper.pdf").read_bytes().startswith(b"%PDF")
    return (directory / "paper.log").read_text(encoding="utf-8", errors="replace")


@needs_pdflatex
@pytest.mark.parametrize("name", ["ranking", "costs"])
def test_tables_with_hostile_names_compile(page: Path, tmp_path: Path, name: str) -> None:
    table = (page.parent / "report" / "tables" / f"{name}.tex").read_text(encoding="utf-8")
    assert for_latex(HOSTILE) in table.replace(r"\allowbreak{}", "")
    assert r"Overfull \hbox" not in compile_latex(tmp_path, table)
    characters = for_latex("".join(map(chr, range(32, 0x180))) + "a--b `` '' \u2026\u2192\u8868\U0001f600\u202e ?` !`")
    compile_latex(tmp_path, table + characters)


@needs_pdflatex
def test_tables_with_long_names_fit_the_page(tmp_path: Path) -> None:
    names = [
        "defaults",
        "attention (dropout 0.193), lr=0.000234",
        "head={name: lstm, lstm_size: 64, bidirectional: true},gradient_checkpointing=true,weight_decay=1.25e-05",
        f"encoder=/home/{'someone/' * 4}encoders/bert_base_uncased_{'finetuned' * 6}",
        f"{'w' * 90}{'-' * 90}",
    ]
    values = dict(zip(names, (0.7, 0.801, 0.8, 0.79, 0.5), strict=True))
    table = ranking_table(collect_contents(made_up_study(tmp_path, values)))
    assert table is not None
    assert r"Overfull \hbox" not in compile_latex(tmp_path, table)

"""The folder report/ of a study, with files for a paper: tables in LaTeX, figures, and a checklist."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib as mpl

from research.records.missing_glyphs import reporting_missing_glyphs
from research.studies.report.checklist import write_checklist
from research.studies.report.contents import Contents
from research.studies.report.latex import costs_table, ranking_table
from research.studies.report.pictures import StudyPictures
from research.system.durable import converting_write_errors, publish

PAPER = "report"
"""Name of the folder."""
TABLES, FIGURES, CHECKLIST = "tables", "figures", "checklist.md"


def write_paper_files(contents: Contents, pictures: StudyPictures) -> None:
    """Write report/, replacing an earlier one.

    Args:
        contents: contents of the study's report.
        pictures: figures of the study.
    Raises:
        StorageError: if the files cannot be written.
    """
    target = contents.study.directory / PAPER
    temporary = target.with_name(f".{PAPER}.writing")
    tables = {"ranking": ranking_table(contents), "costs": costs_table(contents)}
    checklist = write_checklist(contents)
    with converting_write_errors(target, needed=1_000_000):
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in (temporary / TABLES, temporary / FIGURES):
            folder.mkdir(parents=True)
        for name, table in tables.items():
            if table is not None:
                (temporary / TABLES / f"{name}.tex").write_text(table, encoding="utf-8")
        _write_figures(temporary / FIGURES, pictures)
        (temporary / CHECKLIST).write_text(checklist, encoding="utf-8")
        publish(temporary, target)


def _write_figures(folder: Path, pictures: StudyPictures) -> None:
    # Type 42 embeds fonts as outlines; publishers reject type 3, which is matplotlib's default.
    with mpl.rc_context({"pdf.fonttype": 42}), reporting_missing_glyphs(f"The PDF files of {PAPER}/{FIGURES}/"):
        for each in pictures:
            (folder / f"{each.name}.svg").write_text(each.svg, encoding="utf-8")
            each.figure.savefig(folder / f"{each.name}.pdf", format="pdf", metadata={"CreationDate": None})

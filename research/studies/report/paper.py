"""The folder report/ of a study, with files for a paper: tables in LaTeX, figures, and a checklist."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl

from research.records.missing_glyphs import reporting_missing_glyphs
from research.studies.report.checklist import write_checklist
from research.studies.report.contents import Contents
from research.studies.report.latex import costs_table, ranking_table
from research.studies.report.pictures import StudyPicture
from research.system.durable import converting_write_errors, publish

PAPER = "report"
"""Name of the folder."""
TABLES, FIGURES, CHECKLIST = "tables", "figures", "checklist.md"


def write_paper_files(contents: Contents, pictures: Iterable[StudyPicture]) -> None:
    """Write report/ of a study, replacing an earlier one.

    Args:
        contents: contents of the study's report.
        pictures: figures of the study.
    Raises:
        StorageError: if the files cannot be written.
    """
    tables = {"ranking": ranking_table(contents), "costs": costs_table(contents)}
    checklist = write_checklist(contents)
    with _replacing(contents.study.directory / PAPER) as folder:
        (folder / TABLES).mkdir()
        for name, table in tables.items():
            if table is not None:
                (folder / TABLES / f"{name}.tex").write_text(table, encoding="utf-8")
        _write_figures(folder / FIGURES, pictures)
        (folder / CHECKLIST).write_text(checklist, encoding="utf-8")


def write_search_figures(directory: Path, pictures: Iterable[StudyPicture]) -> None:
    """Write report/ of a search, which has only figures, replacing an earlier one.

    Args:
        directory: directory of the search.
        pictures: its figures.
    Raises:
        StorageError: if the files cannot be written.
    """
    with _replacing(directory / PAPER) as folder:
        _write_figures(folder / FIGURES, pictures)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which replaces `target` at the end."""
    temporary = target.with_name(f".{target.name}.writing")
    with converting_write_errors(target, needed=1_000_000):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        publish(temporary, target)


def _write_figures(folder: Path, pictures: Iterable[StudyPicture]) -> None:
    folder.mkdir()
    # Type 42 embeds fonts as outlines; publishers reject type 3, which is matplotlib's default.
    with mpl.rc_context({"pdf.fonttype": 42}), reporting_missing_glyphs(f"The PDF files of {PAPER}/{FIGURES}/"):
        for each in pictures:
            (folder / f"{each.name}.svg").write_text(each.svg, encoding="utf-8")
            each.figure.savefig(folder / f"{each.name}.pdf", format="pdf", metadata={"CreationDate": None})

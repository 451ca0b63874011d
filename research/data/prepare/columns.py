"""Choose the columns of the text, the second text of a pair, the label and the group."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from heads.registry import describe_unknown
from research.data.prepare.column_contents import Content, classify_columns
from research.data.sources.column_names import LABEL_NAMES, PAIR_NAMES, TEXT_NAMES
from research.data.sources.tables import Table
from research.settings.config import DataSettings

_SECOND_TEXT_NAMES = frozenset({second for _, second in PAIR_NAMES} | {"answer", "response", "reply", "title", "body"})
"""Names of columns that count as a second text even if their values are too short to look like text."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read."""

    text: str
    """Column of the text, or of the first text of a pair."""
    text_pair: str | None
    """Column of the second text of a pair; None if each row has one text."""
    label: tuple[str, ...]
    """One column with a label, a list of labels or a score, or several columns that hold a 0 or 1 for each label. Empty
    if rows have no labels."""
    group: str | None = None
    """Column with the group of a row, which may be one of the text columns; None if rows have no groups."""

    @property
    def text_columns(self) -> list[str]:
        """The text column, or both text columns of a pair."""
        return [self.text, *([self.text_pair] if self.text_pair else [])]

    @property
    def joined_label_columns(self) -> str:
        """Names of the label columns in one string, for messages."""
        return ", ".join(self.label)

    def names(self) -> list[str]:
        """Return all columns: the text columns, then the label columns, then the group if it is none of these."""
        names = [*self.text_columns, *self.label]
        return names if self.group is None or self.group in names else [*names, self.group]


def choose_columns(table: Table, settings: DataSettings) -> tuple[Columns, list[str]]:
    """Choose the columns that the settings name, and guess the label column and the text column if they are not named.

    The label column is guessed from its name; the text column is guessed from its name and contents, together with the
    column of a second text, if there is one.

    Returns:
        The columns, and messages about guesses.
    Raises:
        ValueError: if a column named in the settings is missing, or if a column cannot be guessed unambiguously.
    """
    columns = table.columns()
    label = _parse_label_columns(settings.label_column, columns)
    named = [name for name in (settings.text_column, settings.text_pair_column) if name is not None] + list(label)
    group = settings.group_column
    check_columns_exist([*named, *([] if group is None else [group])], table)
    if len(set(named)) < len(named):
        raise ValueError(f"Text, text pair and label must be different columns; got {', '.join(named)}.")
    if group in label:
        raise ValueError(f"The groups must be in a column that does not hold labels; got --group_column '{group}'.")

    guesses = []
    if not label:
        label = (_guess_label([column for column in columns if column not in (*named, group)], table),)
        guesses.append(f"label_column: '{label[0]}'")
    text, text_pair = settings.text_column, settings.text_pair_column
    warnings: list[str] = []
    if text is None:
        candidates = [column for column in table.string_columns() if column not in (*label, text_pair, group)]
        contents = {} if table.fixed_columns else classify_columns(table, candidates)
        text, guessed_pair = _guess_text(candidates, contents, table, text_only=text_pair is not None)
        text_pair = text_pair or guessed_pair
        guesses.append(f"text_column: '{text}'")
        guesses += [f"text_pair_column: '{guessed_pair}'"] if guessed_pair else []
        if text_pair is None:
            warnings = _warn_of_unused_texts(text, contents)
    chosen = Columns(text, text_pair, label, group)
    if not guesses or table.fixed_columns:
        return chosen, []
    return chosen, [f"Guessed {', '.join(sorted(guesses))}.", *warnings]


def choose_text_columns(
    table: Table,
    trained_on: Sequence[str],
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    not_texts: Sequence[str] = (),
) -> tuple[tuple[str, ...], list[str]]:
    """Choose the columns from which a trained model reads its texts.

    Args:
        table: the table.
        trained_on: columns of the training data: one, or two for a model of pairs. They are used if the table has them.
        text_column: column that the settings name for the text, or for the first text of a pair.
        text_pair_column: column that the settings name for the second text of a pair.
        not_texts: columns that are known to hold something else, such as labels.
    Returns:
        As many columns as `trained_on`, and messages about guesses.
    Raises:
        ValueError: if a named column is missing, the named columns do not fit the model, or the columns cannot be
            guessed unambiguously.
    """
    is_pair = len(trained_on) == 2
    settings = {"text_column": text_column, "text_pair_column": text_pair_column}
    named = {setting: name for setting, name in settings.items() if name is not None}
    if named:
        check_columns_exist([*named.values()], table)
        if list(named) != list(settings)[: len(trained_on)] or len(set(named.values())) < len(named):
            expected = "two columns, --text_column and --text_pair_column" if is_pair else "one column, --text_column"
            got = " and ".join(f"--{setting} '{column}'" for setting, column in named.items())
            raise ValueError(f"The model reads its texts from {expected}; got {got}.")
        return tuple(named.values()), []
    if set(trained_on) <= set(table.columns()):
        return tuple(trained_on), []
    candidates = [column for column in table.string_columns() if column not in not_texts]
    contents = {} if table.fixed_columns else classify_columns(table, candidates)
    text, text_pair = _guess_text(candidates, contents, table, text_only=not is_pair)
    if is_pair and text_pair is None:
        raise ValueError(
            f"The model predicts pairs of texts, and it is unclear which two columns of {table.name} hold them. "
            f"Columns: {', '.join(table.columns())}. Set --text_column and --text_pair_column."
        )
    chosen = (text, text_pair) if text_pair is not None else (text,)
    if table.fixed_columns:
        return chosen, []
    guesses = ", ".join(f"{setting}: '{column}'" for setting, column in zip(settings, chosen, strict=False))
    missing = " and ".join(map(repr, trained_on))
    return chosen, [f"Guessed {guesses}. The model was trained on {missing}, which {table.name} does not have."]


def check_columns_exist(names: Sequence[str], table: Table) -> None:
    """Raise ValueError if the table lacks one of the columns."""
    columns = table.columns()
    for name in names:
        if name not in columns:
            problem = describe_unknown("column", name, columns, listed_as="Columns")
            advice = _advise_on_separator(table, columns)
            raise ValueError(f"{table.name}: {problem}" + (f" {advice}" if advice else ""))


def _parse_label_columns(setting: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the label columns that the setting label_column names, separated by commas.

    Column names may contain commas: if the whole setting is the name of a column, only that column is returned.
    """
    if setting is None:
        return ()
    return (setting,) if setting in columns else tuple(name.strip() for name in setting.split(","))


def _guess_label(candidates: list[str], table: Table) -> str:
    matches = [column for column in candidates if column.lower() in LABEL_NAMES]
    if len(matches) != 1:
        raise ValueError(_describe_ambiguous("label", matches, table))
    return matches[0]


def _guess_text(
    candidates: list[str], contents: dict[str, Content], table: Table, *, text_only: bool
) -> tuple[str, str | None]:
    """Return the text column and the column of the second text; the latter is None if it is not guessed.

    Args:
        candidates: columns that may hold text.
        contents: kind of the values in each column; empty if it is not known.
        table: the table.
        text_only: whether to guess only the text column, because the settings name the column of the second text.
    Raises:
        ValueError: if it is unclear which column holds the text, or if the guessed column holds numbers or ids.
    """
    by_name = {column.lower(): column for column in candidates}
    pairs = [(by_name[first], by_name[second]) for first, second in PAIR_NAMES if {first, second} <= by_name.keys()]
    matches = [by_name[name] for name in TEXT_NAMES if name in by_name]
    if len(pairs) == 1 and not text_only and set(matches) <= set(pairs[0]):
        _refuse_ids(pairs[0], contents, table)
        return pairs[0]
    matches = list(dict.fromkeys([*matches, *itertools.chain(*pairs)])) or candidates
    if len(matches) > 1:
        matches = [column for column in matches if contents.get(column) is not Content.ID]
    if len(matches) != 1 or _advise_on_separator(table, matches) is not None:
        raise ValueError(_describe_ambiguous("text", matches, table))
    _refuse_ids(matches, contents, table)
    return matches[0], None


def _refuse_ids(guessed: Sequence[str], contents: dict[str, Content], table: Table) -> None:
    """Raise ValueError if a guessed text column holds numbers or ids."""
    for column in guessed:
        if contents.get(column) is Content.ID:
            raise ValueError(
                f"Expected a column with text in {table.name}; '{column}' holds numbers or ids. Columns: "
                f"{', '.join(table.columns())}. Set --text_column to the right column, or to '{column}' to use it "
                "anyway."
            )


def _warn_of_unused_texts(text: str, contents: dict[str, Content]) -> list[str]:
    """Return a warning if columns other than the text column also hold text."""
    unused = [
        column
        for column, content in contents.items()
        if column != text
        and (content is Content.TEXT or (content is not Content.ID and column.strip().lower() in _SECOND_TEXT_NAMES))
    ]
    if not unused:
        return []
    return [
        f"Warning: Only the column '{text}' is read as text, although {' and '.join(map(repr, unused))} also "
        f"hold{'s' if len(unused) == 1 else ''} text. To read a pair of texts, set --text_pair_column '{unused[0]}'."
    ]


def _describe_ambiguous(what: str, matches: list[str], table: Table) -> str:
    """Return an error message for a column that cannot be guessed.

    Args:
        what: content of the column, text or label.
        matches: columns that may have this content.
        table: the table.
    """
    reason = f"candidates: {', '.join(matches)}" if matches else "no column has one of the usual names"
    remedy = f"Set --{what}_column" + (", and --text_pair_column if rows are pairs." if what == "text" else ".")
    remedy = _advise_on_separator(table, table.columns()) or remedy
    return (
        f"It is unclear which column of {table.name} holds the {what}; {reason}. "
        f"Columns: {', '.join(table.columns())}. {remedy}"
    )


def _advise_on_separator(table: Table, columns: Sequence[str]) -> str | None:
    """Return what to do if one of the columns seems to be several columns; None if none of them does."""
    return next((advice for column in columns if (advice := table.advise_on_separator(column)) is not None), None)

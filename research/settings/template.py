r"""Prompt templates such as `Review: {text}\nSentiment:`, which surround the texts of a row."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from heads.registry import UnknownNameError, describe_unknown
from research.system.plain_text import for_message

FIELDS = ("text", "text_pair")
"""Names of the fields, in the order of the texts of a row."""
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "\\": "\\"}


@dataclass(frozen=True)
class Template:
    """A parsed template: its literal parts, and the spaces in front of the texts."""

    literals: tuple[str, ...]
    """The parts before the first text, between the texts of a pair, and after the last text. Spaces at the end of a
    part that precedes a text are in `spaces` instead."""
    spaces: tuple[str, ...]
    """Spaces that the template has directly before each text. They become part of the text before it is tokenized,
    because most tokenizers attach a space to the word that follows it."""

    @property
    def has_pair(self) -> bool:
        """Whether the template has a field for the second text of a pair."""
        return len(self.spaces) == 2

    def check_fields(self, *, pair: bool) -> None:
        """Check that the template has a field for each text of a row.

        Args:
            pair: whether rows are pairs of texts.
        Raises:
            ValueError: if not.
        """
        if self.has_pair and not pair:
            raise ValueError(
                "Expected a --template without {text_pair}, because each row has one text. Remove the field, or name "
                "the column of the second text with --text_pair_column."
            )
        if pair and not self.has_pair:
            raise ValueError(
                "Expected a --template with {text} and {text_pair}, because the rows are pairs of texts; {text_pair} "
                "is missing."
            )


def parse_template(template: str | None) -> Template | None:
    r"""Parse a template.

    Args:
        template: text with the field {text}, and {text_pair} for pairs. `\n` is a line break, `\t` a tab, `\\` a
            backslash; `{{` and `}}` are braces. None stands for no template.
    Returns:
        The template, or None.
    Raises:
        ValueError: if the template is not valid; the message shows it and says what to change.
    """
    if template is None:
        return None
    shown = for_message(template, 200)
    unescaped = _ESCAPE.sub(lambda match: _unescape(match, shown), template)
    try:
        parts = list(string.Formatter().parse(unescaped))
    except ValueError:
        raise ValueError(
            f"The braces of the template '{shown}' are not balanced. Write the field as {{text}}, and a literal brace "
            "as {{ or }}."
        ) from None
    literals, names = [""], []
    for literal, name, format_spec, conversion in parts:
        literals[-1] += literal
        if name is None:
            continue
        if name not in FIELDS:
            message = describe_unknown("field", name, FIELDS, listed_as="Fields")
            raise UnknownNameError(f"The template '{shown}': {message} Write a literal brace as {{{{ or }}}}.")
        if format_spec or conversion:
            raise ValueError(f"The template '{shown}': expected {{{name}}} without '!' or ':' inside the braces.")
        names.append(name)
        literals.append("")
    if "text" not in names:
        raise ValueError(f"The template '{shown}' has no {{text}}. Write {{text}} where the text belongs.")
    if names not in (["text"], ["text", "text_pair"]):
        raise ValueError(
            f"The template '{shown}' must have {{text}} once and, for pairs, {{text_pair}} once after it; got "
            f"{', '.join(f'{{{name}}}' for name in names)}."
        )
    before_texts = literals[:-1]
    return Template(
        literals=(*(literal.rstrip(" ") for literal in before_texts), literals[-1]),
        spaces=tuple(" " * (len(literal) - len(literal.rstrip(" "))) for literal in before_texts),
    )


def _unescape(match: re.Match[str], shown: str) -> str:
    r"""Return the character that an escape such as `\n` stands for."""
    if match[1] not in _ESCAPED:
        raise ValueError(
            f"The template '{shown}' has the unknown escape '{for_message(match[0])}'. Known are \\n (line break), \\t "
            "(tab) and \\\\ (backslash)."
        )
    return _ESCAPED[match[1]]

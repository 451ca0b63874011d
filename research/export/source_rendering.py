"""Write the part of a module that an export keeps, with its comments and its layout."""

from __future__ import annotations

import ast
import itertools
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from research.export.source_module import ImportedName, SourceModule, is_text

_LONGEST_LINE = 120
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def render(
    module: SourceModule,
    kept: Collection[ast.stmt],
    imports: Sequence[ImportedName],
    file_names: Mapping[str, str],
) -> str:
    """Return the source code of a part of a module.

    Args:
        module: the module.
        kept: its top-level statements to keep.
        imports: the imports to keep.
        file_names: name, without suffix, of the file of each exported module. Imports from these modules become
            relative.
    """
    text = _Text(module)
    is_future = [isinstance(each, ast.ImportFrom) and each.module == "__future__" for each in module.statements]
    head = [
        *(text.of(each) for each in module.statements[:1] if is_text(each)),
        *(text.of(each) for each in itertools.compress(module.statements, is_future)),
        *("\n".join(_render_imports(group, file_names)) for group in _group(imports, file_names)),
    ]
    result = "\n\n".join(filter(None, head)) + "\n"
    previous: ast.stmt | None = None
    for index, statement in enumerate(module.statements):
        if statement in kept:
            separate = isinstance(previous, _Definition) or isinstance(statement, _Definition)
            result += "\n\n" if separate else "\n" if previous is None else ""
            result += text.with_comments(index)
            previous = statement
    return result


class _Text:
    """The text of statements, without decorators that register and without shape annotations."""

    def __init__(self, module: SourceModule) -> None:
        self._module = module
        self._source = module.source.encode()
        self._lines = self._source.splitlines(keepends=True)
        self._line_starts = [0, *itertools.accumulate(map(len, self._lines))]

    def of(self, node: ast.AST) -> str:
        """Return the text of a node as it is."""
        begin, end = self._span(node)
        return self._source[begin:end].decode()

    def with_comments(self, index: int) -> str:
        """Return the text of a top-level statement with the comments above it and the docstring of a variable."""
        statement, *following = self._module.statements[index : index + 2]
        decorators = getattr(statement, "decorator_list", [])
        first_line = min(each.lineno for each in (statement, *decorators)) - 1
        while first_line > 0 and self._lines[first_line - 1].startswith(b"#"):
            first_line -= 1
        last = statement
        if isinstance(statement, ast.Assign | ast.AnnAssign) and following and is_text(following[0]):
            last = following[0]
        begin, (_, end) = self._line_starts[first_line], self._span(last)
        rest_of_line = self._lines[(last.end_lineno or 1) - 1][(last.end_col_offset or 0) :].rstrip()
        if rest_of_line.lstrip().startswith(b"#"):
            end += len(rest_of_line)
        text = self._source[begin:end]
        for edit_begin, edit_end, replacement in sorted(self._edits(statement), reverse=True):
            text = text[: edit_begin - begin] + replacement.encode() + text[edit_end - begin :]
        return text.decode() + "\n"

    def _edits(self, statement: ast.stmt) -> Iterator[tuple[int, int, str]]:
        """Yield the changes of a statement: first byte, byte after the last one, and replacement."""
        for node in ast.walk(statement):
            for decorator in self._module.registering_decorators(node):
                assert decorator.end_lineno is not None
                yield self._line_starts[decorator.lineno - 1], self._line_starts[decorator.end_lineno], ""
            annotated = self._module.type_with_shape(node)
            if annotated is not None:
                yield (*self._span(node), self.of(annotated))

    def _span(self, node: Any) -> tuple[int, int]:
        """Return the positions of a node's first byte and of the byte after its last one."""
        return (
            self._line_starts[node.lineno - 1] + node.col_offset,
            self._line_starts[node.end_lineno - 1] + node.end_col_offset,
        )


def _group(imports: Sequence[ImportedName], file_names: Mapping[str, str]) -> list[list[ImportedName]]:
    """Return the imports from the standard library, from other packages, and from exported modules."""
    groups: list[list[ImportedName]] = [[], [], []]
    for each in imports:
        is_standard = each.module.partition(".")[0] in sys.stdlib_module_names
        groups[2 if each.module in file_names else 0 if is_standard else 1].append(each)
    return groups


def _render_imports(names: Sequence[ImportedName], file_names: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of imports; imports from exported modules are relative."""
    for module in dict.fromkeys(each.module for each in names):
        of_module = [each for each in names if each.module == module]
        for each in of_module:
            if each.name is None:
                yield f"import {module}" + (f" as {each.alias}" if each.alias else "")
        items = [f"{each.name} as {each.alias}" if each.alias else each.name for each in of_module if each.name]
        if items:
            start = f"from {'.' + file_names[module] if module in file_names else module} import "
            line = start + ", ".join(items)
            if len(line) > _LONGEST_LINE:
                wrapped = textwrap.fill(", ".join(items) + ",", _LONGEST_LINE - 4)
                line = f"{start}(\n{textwrap.indent(wrapped, '    ')}\n)"
            yield line

"""Read the options of built-in entries, and their checks of option values, from the source code.

Importing the entries would give the same results, but takes seconds.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from heads.checks import require_one_of, require_positive, require_probability
from research.model.selector_forms import Selector, Targets
from research.settings.options import Option
from research.settings.times import parse_time
from research.tasks.metric_names import check_metric_name

_TYPES: dict[str, Any] = {"Any": Any, "Literal": Literal, "Selector": Selector, "Targets": Targets}
"""Types that annotations of options may use, by name; builtins may be used too."""
_CHECKS = {
    check.__name__: check
    for check in (require_one_of, require_positive, require_probability, parse_time, check_metric_name)
}
"""Functions with which entries check the values of their options."""
_BUILTINS = {"float": float, "len": len, "max": max, "min": min}
"""Builtins that checks of option values may use."""


def read_options(function: ast.FunctionDef | None, *, from_second_on: bool = False) -> tuple[Option, ...]:
    """Return the options of a function, which are its keyword-only parameters.

    Args:
        function: source of the function; None if there is none, and thus no options.
        from_second_on: whether all parameters except the first are options, as in edits.
    """
    if function is None:
        return ()
    arguments = function.args
    parameters: list[tuple[ast.arg, ast.expr | None]] = []
    if from_second_on:
        num_required = len(arguments.args) - len(arguments.defaults)
        parameters += list(zip(arguments.args, [*[None] * num_required, *arguments.defaults], strict=True))[1:]
    parameters += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return tuple(
        Option(
            parameter.arg,
            _read_type(parameter.annotation),
            inspect.Parameter.empty if default is None else ast.literal_eval(default),
            "",
        )
        for parameter, default in parameters
    )


def _read_type(annotation: ast.expr | None) -> Any:
    """Return the type in an annotation; Any if it uses names that are not known here."""
    if annotation is None:
        return Any
    try:
        return _evaluate(annotation, _TYPES)
    except NameError:
        return Any


def check_values(function: ast.FunctionDef | None, values: Mapping[str, Any]) -> None:
    """Run those checks in a function that depend only on its options.

    Args:
        function: source of the function; None if there is none, and thus no checks.
        values: values of all options.
    Raises:
        ValueError: the error that the function itself would raise.
    """
    known = {**_BUILTINS, **_CHECKS, **values}
    for statement in () if function is None else function.body:
        match statement:
            case ast.If(test=test, body=[ast.Raise(exc=ast.Call(args=[message]))]) if _is_known([test, message], known):
                if _evaluate(test, known):
                    raise ValueError(_evaluate(message, known))
            case (
                ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call)
                | ast.Assign(value=ast.Call(func=ast.Name(id=name)) as call)
            ) if name in _CHECKS and _is_known([call], known):
                _evaluate(call, known)  # the check raises an error if the value is invalid
        for node in ast.walk(statement):  # a variable that the function assigns no longer has the value of the option
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.pop(node.id, None)


def _is_known(nodes: Sequence[ast.AST], known: Mapping[str, Any]) -> bool:
    return all(node.id in known for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name))


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), __file__, "eval"), {}, dict(names))  # noqa: S307 - Midway's own source

"""Finds small arithmetic in a text, such as "what is 17*23" or "(2+3) x 4", and computes it."""

import ast
import operator
import re
from collections.abc import Callable

_TIMES = re.compile(r"(?<=[\d)])\s*[x\u00d7]\s*(?=[\d(-])", re.I)
# A bare "-" between digits is a range or a date more often than a difference.
_SUM = re.compile(
    r"(?<![\w./:-])\({0,4}-?\d+(?:\.\d+)?\){0,4}(?:\s*(?:[+*/]|\s-\s)\s*\({0,4}-?\d+(?:\.\d+)?\){0,4})+"
    r"(?![\w/:-]|\.\d)"
)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST_SUM = 200


def results(text: str) -> list[str]:
    """Return each sum found in ``text`` with its value, as "17 * 23 = 391"."""
    found: list[str] = []
    for match in _SUM.finditer(_TIMES.sub("*", text)):
        sum_text = " ".join(match[0].split())
        if (value := _value(sum_text)) is not None:
            found.append(f"{sum_text} = {value}")
    return found


def _value(text: str) -> str | None:
    if len(text) > _LONGEST_SUM:
        return None
    try:
        value = _compute(ast.parse(text, mode="eval").body)
        return f"{value:.10g}" if value % 1 else f"{value:.0f}"
    except (SyntaxError, ArithmeticError, ValueError):
        return None


def _compute(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_compute(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_compute(left), _compute(right))
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not arithmetic")

"""Small arithmetic found in a text: "what is 17*23", "12 plus 3.5", "(2+3) x 4"."""

import ast
import operator
import re
from collections.abc import Callable

_SPELLED = (
    (re.compile(r"(?<=[\d)])\s*(?:times|multiplied by|x|\u00d7)\s*(?=[\d(-])", re.I), "*"),
    (re.compile(r"(?<=[\d)])\s+plus\s+(?=[\d(-])", re.I), "+"),
    (re.compile(r"(?<=[\d)])\s+minus\s+(?=[\d(-])", re.I), " - "),
    (re.compile(r"(?<=[\d)])\s*(?:divided by|÷)\s*(?=[\d(-])", re.I), "/"),
    (re.compile(r"(?<=[\d)])\s*\^\s*(?=[\d(-])"), "**"),
)
# A bare "-" between digits is a range or a date more often than a difference.
_SUM = re.compile(
    r"(?<![\w./:-])\({0,4}-?\d+(?:\.\d+)?\){0,4}(?:\s*(?:\*\*|[+*/%]|\s-\s)\s*\({0,4}-?\d+(?:\.\d+)?\){0,4})+"
    r"(?![\w/:-]|\.\d)"
)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_LONGEST_SUM = 200
_LARGEST_EXPONENT = 64
_LARGEST_BASE = 1_000_000


def results(text: str) -> list[str]:
    """Return each sum found in ``text`` with its value, as "17 * 23 = 391"."""
    for pattern, symbol in _SPELLED:
        text = pattern.sub(symbol, text)
    found: list[str] = []
    for match in _SUM.finditer(text):
        sum_text = " ".join(match[0].split())
        if (value := _value(sum_text)) is not None:
            found.append(f"{sum_text} = {value}")
    return found


def _value(text: str) -> str | None:
    if len(text) > _LONGEST_SUM:
        return None
    try:
        value = _reckon(ast.parse(text, mode="eval").body)
        return f"{value:.10g}" if value % 1 else f"{value:.0f}"
    except (SyntaxError, ArithmeticError, ValueError):
        return None


def _reckon(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_reckon(operand)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _reckon(left), _reckon(right)
            if isinstance(op, ast.Pow) and (
                abs(b) > _LARGEST_EXPONENT or not 0 <= a <= _LARGEST_BASE
            ):
                raise ValueError("The power is too large to be small arithmetic.")
            return _OPERATORS[type(op)](a, b)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not arithmetic")

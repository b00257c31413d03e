"""Rewrites a flow's module so that accesses to some attributes call a guard."""

import ast

from polyvox.workflows.confinement.escapes import FORMATS, is_private

GET, CHANGE = "__polyvox_get__", "__polyvox_change__"
"""Names that the rewritten source calls; flows cannot use names of this form."""

SETTERS = frozenset({"__delattr__", "__setattr__"})
"""Methods that change an attribute whose name is computed."""

GUARDED = FORMATS | SETTERS | {"register"}
"""Public attributes whose access calls a guard."""


class Rewriting(ast.NodeTransformer):
    """Inserts guards where an attribute is private, formats strings, or is assigned."""

    def __init__(self, tree: ast.Module) -> None:
        self._classes: list[str] = []
        # Annotations are strings then, which are checked when they are resolved.
        self._texts = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in tree.body
        )

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        self._classes.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._classes.pop()
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.target = self.visit(node.target)
        if not self._texts:
            node.annotation = self.visit(node.annotation)
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node if self._texts else self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        value = self.visit(node.value)
        name = self._mangled(node.attr)
        if not isinstance(node.ctx, ast.Load):
            node.value = ast.copy_location(_call(CHANGE, value, name), node.value)
            return node
        if is_private(name) or name in GUARDED:
            return ast.copy_location(_call(GET, value, name), node)
        node.value = value
        return node

    def _mangled(self, name: str) -> str:
        """Return the name as the compiler mangles it in the class."""
        if not self._classes or not name.startswith("__") or name.endswith("__"):
            return name
        stripped = self._classes[-1].lstrip("_")
        return f"_{stripped}{name}" if stripped else name


def _call(guard: str, value: ast.expr, name: str) -> ast.Call:
    return ast.Call(ast.Name(guard, ast.Load()), [value, ast.Constant(name)], [])

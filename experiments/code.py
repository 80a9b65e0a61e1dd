"""The identity of an experiment's code, apart from how it is written down."""

from __future__ import annotations

import ast
import hashlib


def normalised_code_sha(source: str) -> str:
    """sha256 of what the code does: comments, docstrings and formatting do not count, literals do.

    Source that Python cannot parse is identified by its text.
    """
    try:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
        text = ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError):
        text = source
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

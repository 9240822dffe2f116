"""Whose a name is that tests use and do not define: the program's, or Python's."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys

_COMMON = ("math", "collections", "itertools", "functools", "typing", "copy", "decimal", "fractions", "datetime")  # fmt: skip
"""Modules whose names are Python's wherever tests use them and no reference defines them; the first one's comes first."""


def told_apart(
    tests: ast.Module, solution: ast.Module, entry: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of Python's that are the program's all the same, and the imports that the tests lack.

    Python's are built-in names, modules, and what is well known of some of them; the program's is what the reference defines,
    or the entry point. Where nothing tells, and there are but names of Python's, the first one that is called is the
    program's.

    Args:
        tests: The tests.
        solution: The reference; empty where there is none.
        entry: The name of what is tested, where that is known.
    """
    free = _read(tests) - _defined(tests)
    declared = {entry} if entry else _top_level(solution)
    own = {name for name in free & declared if _is_pythons(name)}
    if not declared and all(map(_is_pythons, free)):
        own = set(_first_called(tests)[:1])
    imports = {**_common_imports(free), **_imports(solution)} if declared else {}
    lines = [imports[name] for name in sorted(free - declared) if name in imports]
    return tuple(sorted(own)), tuple(lines)


def asserts(node: ast.AST) -> bool:
    """Whether this is an assert, or a call like `self.assertEqual(…)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr.startswith("assert")
    return isinstance(node, ast.Assert)


def _is_pythons(name: str) -> bool:
    """Whether a name is a built-in one, or that of a module."""
    return hasattr(builtins, name) or name in sys.stdlib_module_names


def _common_imports(names: set[str]) -> dict[str, str]:
    """Those of some names that are well known, and how they are imported."""
    return {
        name: f"from {module} import {name}"
        for module in reversed(_COMMON)
        for name in names & set(dir(importlib.import_module(module)))
        if not _is_pythons(name)
    }


def _imports(tree: ast.Module) -> dict[str, str]:
    """Names that a module imports from Python's own ones, and how."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                origin = node.module if isinstance(node, ast.ImportFrom) else alias.name
                if origin and origin.split(".")[0] in sys.stdlib_module_names:
                    line = f"import {_written(alias)}"
                    if isinstance(node, ast.ImportFrom):
                        line = f"from {node.module} {line}"
                    found[alias.asname or alias.name.split(".")[0]] = line
    return found


def _written(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _top_level(tree: ast.Module) -> set[str]:
    """Names that a module defines or assigns, within nothing."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


def _read(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _defined(tree: ast.AST) -> set[str]:
    """Names that a module defines, imports or assigns at its top level or within."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return names


def _first_called(tree: ast.Module) -> list[str]:
    """Names that are called in the first assertion, the outermost first."""
    first = next(filter(asserts, ast.walk(tree)))
    return [n.func.id for n in ast.walk(first) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]

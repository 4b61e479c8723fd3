"""Reference page of the Python API, from the source of the names that `ddspec` exports.

The source is read and not imported, because some modules import torch.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import ddspec
from docs.generate.markdown import anchor, block, code, link, page, table
from docs.generate.prose import docstring_markdown

DESCRIBED = {"Spec": "keys/index.md", "Plan": "formats/plan.md", "Record": "formats/record.md"}
"""Names that have pages of their own."""

Definition = ast.FunctionDef | ast.ClassDef


def python_page() -> str:
    """Return the page of all exported names: functions first, then classes."""
    names = [name for name in ddspec.__all__ if not name.startswith("__")]
    definitions = [definition(name) for name in names]
    functions = [d for d in definitions if isinstance(d, ast.FunctionDef)]
    classes = [d for d in definitions if isinstance(d, ast.ClassDef)]
    return page(
        "# Python",
        "`import ddspec` gives these names. Importing it does not import torch.",
        *(part for function in functions for part in function_section(function)),
        *(part for described in classes for part in class_section(described)),
    )


def definition(name: str) -> Definition:
    """Return the definition of an exported name."""
    module = next(module for module, names in ddspec.MODULES.items() if name in names)
    return defined_in(module, name)


def defined_in(module: str, name: str) -> Definition:
    """Return the definition of a name in a module, or in the one that it imports it from."""
    for node in ast.walk(source_of(module)):
        if isinstance(node, Definition) and node.name == name:
            return node
    for node in ast.walk(source_of(module)):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return defined_in(str(node.module), name)
    raise ValueError(f"{module} does not define {name}")


@cache
def source_of(module: str) -> ast.Module:
    """Return the parsed source of a module."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"no module {module}")
    return ast.parse(Path(found.origin).read_text(encoding="utf-8"))


def function_section(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the section of a function."""
    yield from heading("function", function.name)
    yield block(unquoted(signature(function)), "python")
    yield docstring_markdown(ast.get_docstring(function) or "")


def class_section(described: ast.ClassDef) -> Iterator[str]:
    """Yield the section of a class: its fields, properties and methods."""
    yield from heading("class", described.name)
    yield docstring_markdown(ast.get_docstring(described) or "")
    if described.name in DESCRIBED:
        yield f"Its fields have {link('a page of their own', DESCRIBED[described.name])}."
        return
    rows = list(fields_of(described))
    if rows:
        yield table(["field", "type", "meaning"], rows)
    for method in described.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            yield block(unquoted(signature(method)), "python")
            yield docstring_markdown(ast.get_docstring(method) or "")


def heading(kind: str, name: str) -> Iterator[str]:
    """Yield the heading of an exported name; anchors do not tell `run` from `Run`."""
    yield anchor(f"{kind}.{name}")
    yield f"## {code(f'ddspec.{name}')}"


def fields_of(described: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and meaning of each field; the meaning is the text below it."""
    for node, following in zip(described.body, [*described.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            meaning = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                meaning = docstring_markdown(str(following.value.value))
            yield code(ast.unparse(node.target)), code(ast.unparse(node.annotation)), meaning


def signature(function: ast.FunctionDef) -> str:
    """Return the first line of a function; a property without the parentheses of a call."""
    returned = ast.unparse(function.returns) if function.returns else "None"
    if any(ast.unparse(decorator) == "property" for decorator in function.decorator_list):
        return f"{function.name}: {returned}"
    arguments = ast.unparse(function.args).removeprefix("self").removeprefix(", ")
    line = f"{function.name}({arguments}) -> {returned}"
    if len(line) <= 80:
        return line
    return "\n".join([f"{function.name}(", *arguments_in_lines(function), f") -> {returned}"])


def unquoted(text: str) -> str:
    """Return a signature with types that are written as strings, because they are imported late."""
    return re.sub(r"'([^']*)'", r"\1", text)


def arguments_in_lines(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the arguments of a function, one a line."""
    every = function.args
    for argument in every.args:
        if argument.arg != "self":
            yield f"    {ast.unparse(argument)},"
    if every.kwonlyargs:
        yield "    *,"
    for argument, default in zip(every.kwonlyargs, every.kw_defaults, strict=True):
        value = f" = {ast.unparse(default)}" if default else ""
        yield f"    {ast.unparse(argument)}{value},"

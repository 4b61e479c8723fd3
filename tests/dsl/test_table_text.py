"""CSV cells that a spreadsheet could take for formulas are made harmless."""

import ast
import csv
import io
from pathlib import Path

import pytest

import ddspec
from ddspec.dsl.table_text import csv_text

ROOT = Path(ddspec.__file__).parent.parent


@pytest.mark.parametrize(
    "text", ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)", "-"]
)
def test_text_that_starts_like_a_formula_gets_an_apostrophe(text: str):
    rows = list(csv.reader(io.StringIO(csv_text([text], [[text]]), newline="")))
    harmless = "'" + text.replace("\r", " ")
    assert rows == [[harmless], [harmless]]


def test_text_begins_no_row():
    rows = list(csv.reader(io.StringIO(csv_text(["a"], [["x\r=1"], ["x\n=1"]]), newline="")))
    assert rows == [["a"], ["x =1"], ["x\n=1"]]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (-1.5, "-1.5"),
        (None, ""),
        ((-1.0, 2.0), "-1.0 2.0"),
        ("-3e-5", "-3e-5"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_numbers_and_other_texts_stay_as_they_are(cell, written: str):
    assert csv_text(["a", "b"], [[cell, "x"]]) == f"a,b\n{written},x\n"


def test_one_module_writes_csv():
    writers = [
        path.name
        for folder in ("dsl", "engine", "reports", "ddspec")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert set(writers) == {"table_text.py"}

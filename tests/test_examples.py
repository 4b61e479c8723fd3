"""The notebooks in examples/: executed as they are committed, and again in a fresh kernel."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "examples").glob("*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs_of(cell):
    """The outputs of a cell as pairs of MIME type and text."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield output["name"], "".join(output["text"])
        else:
            yield from ((kind, "".join(text)) for kind, text in output["data"].items())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_with_its_outputs_and_a_picture(path):
    cells = code_cells(json.loads(path.read_text()))
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in outputs_of(cell)]
    assert "stderr" not in dict(outputs)
    assert any("data:image/png" in text for kind, text in outputs if kind == "text/html")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_in_any_folder_and_prints_the_same_kinds_of_output(path, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    places = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=1200, resources=places).execute()
    committed = code_cells(json.loads(path.read_text()))
    for before, now in zip(committed, code_cells(notebook), strict=True):
        kinds = [sorted(kind for kind, _ in outputs_of(cell)) for cell in (before, now)]
        assert kinds[0] == kinds[1]
    assert {path.name for path in (tmp_path / "runs").glob("*.html")} == {"init.html"}
    verdicts = "".join(text for _, text in outputs_of(code_cells(notebook)[-2]))
    assert "fault" not in verdicts

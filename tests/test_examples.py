"""The notebook runs from its first cell to its last, as a user would run it."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(ROOT / "specs" / "digits_ipc1.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text())
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    assert names["seen"] >= {"experts", "distill", "evaluate-convnet"}
    assert {finding.verdict for finding in names["findings"]} == {"ok", "not checked"}
    assert names["finished"].report.exists()
    assert names["synthetic"].images.shape == (10, 1, 8, 8)
    assert list(names["finished"].accuracies()) == [0, 20]
    assert len(names["finished"].series["matching_loss"]) == 20

"""What is read of a dataset, and what is not, is printed before anything is computed."""

import json

import pytest
from typer.testing import CliRunner

from ddspec.cli.main import app
from ddspec.dsl.facts.datasets import FilesAccount
from tests.engine.images.samples import members, random_png, write_folder

SPEC = (
    'ddspec = 1\nname = "x"\n[dataset]\nname = "folder"\nroot = "pets"\n'
    "[network]\ndepth = 1\n[synthetic]\nipc = 1\n"
)


def test_plan_prints_images_and_classes_and_what_was_passed_over(tmp_path):
    others = {"train/cat/a.txt": b"", "train/cat/b.txt": b"", "train/.x/0.png": random_png(0)}
    write_folder(tmp_path / "pets", members() | others)
    (tmp_path / "x.toml").write_text(SPEC)
    places = ["--data", str(tmp_path), "--store", str(tmp_path / "store")]
    command = ["plan", str(tmp_path / "x.toml"), *places]
    result = CliRunner().invoke(app, command)
    line = (
        "read: 6 training and 4 test images of 2 classes from pets/; passed over: 2 .txt, 1 hidden"
    )
    assert line in result.stdout.splitlines()
    as_json = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert as_json["files"] == {
        "files": 13,
        "images": 10,
        "passed_over": {".txt": 2, "hidden": 1},
    }


def test_account_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="not all files"):
        FilesAccount(files=3, images=1, passed_over={".txt": 1})

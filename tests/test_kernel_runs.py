"""A run of kernel regression, whose labels are targets, from the spec to the exports."""

import pytest

import ddspec
from ddspec.engine.exchange.export import export_run
from ddspec.engine.exchange.import_set import SetOptions, import_set
from ddspec.engine.store.store import Store
from ddspec.verification import verify
from tests.test_imported_sets import SETTINGS, made

KERNEL = (
    "matching={objective='kernel', iterations=6, real_images=60, mirror=false}",
    "synthetic.student_lr={}",
    "synthetic.labels={name='regression', lr=0.01}",
    "synthetic.images={optimizer='lamb', lr=0.01}",
    "evaluation.protocol='frepo'",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ddspec.Run:
    return made(tmp_path_factory.mktemp("kernel"), *SETTINGS, *KERNEL)


def test_page_names_the_method_and_verify_finds_no_fault(run):
    page = (run.folder / "report.html").read_text()
    assert "error of a ridge regression on features (FRePo)" in page
    assert "Accuracy of the regression" in page
    findings = list(verify(run.folder))
    assert findings and not [finding for finding in findings if finding.verdict == "fault"]


def test_targets_are_loaded_and_exported_as_they_are(run, tmp_path):
    loaded = ddspec.load_set(run.folder)
    assert loaded.labels.shape == (10, 10) and loaded.labels.min() < 0
    written = export_run(run.folder, run.record, tmp_path, ("npz", "hdf5"))
    assert "targets of a regression" in (tmp_path / "README.md").read_text()
    assert {path.name for path in written} >= {"synthetic.npz", "synthetic.h5"}


def test_targets_are_not_taken_for_probabilities(run, tmp_path):
    """Neither as they are, nor as logits, whose softmax would be other labels."""
    for logits in (False, True):
        with pytest.raises(ddspec.DataError, match="neither classes nor probabilities"):
            import_set(
                [run.folder / "synthetic.h5"],
                SetOptions(dataset="digits", logits=logits),
                Store(tmp_path),
            )

"""The public functions: what they take, what they return, and how they fail."""

import io
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import ddspec
from ddspec.engine.control import Control
from ddspec.functions.progress import control_of

SHORT = {
    "experts.count": 1,
    "matching.iterations": 4,
    "evaluation.every": 4,
    "evaluation.epochs": 2,
}
TABLES = {
    "ddspec": 1,
    "name": "from_dict",
    "dataset": {"name": "digits", "classes": ("1", "2")},
    "network": {"depth": 1, "width": 8},
    "synthetic": {"ipc": 1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    reports = []
    run = ddspec.run(
        Path(__file__).parent / "smoke.toml",
        SHORT,
        runs=folder / "runs",
        store=str(folder / "store"),
        on_progress=reports.append,
    )
    return folder, run, reports


def test_every_public_name_is_there_and_documented():
    assert set(ddspec.__all__) <= set(dir(ddspec))
    assert {name for name in dir(ddspec) if not name.startswith("_")} == {
        name for name in ddspec.__all__ if not name.startswith("_")
    }
    for name in ddspec.__all__:
        assert getattr(ddspec, name) is not None
        assert getattr(ddspec, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'compiel'"):
        ddspec.compiel  # noqa: B018


def test_load_takes_a_path_as_text_or_as_path(smoke):
    assert ddspec.load(str(smoke)).spec == ddspec.load(smoke).spec


def test_load_takes_a_dict():
    loaded = ddspec.load(TABLES)
    assert loaded.spec.dataset.classes == ("1", "2")
    assert tomllib.loads(loaded.source.text) == {
        **TABLES,
        "dataset": {"name": "digits", "classes": ["1", "2"]},
    }


def test_mistakes_in_a_dict_are_those_of_a_file():
    with pytest.raises(ddspec.SpecError) as caught:
        ddspec.load({**TABLES, "synthetic": {"ipc": 0, "student": 1}})
    assert {d.key for d in caught.value.diagnostics} == {"synthetic.ipc", "synthetic.student"}
    assert "<dict>" in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"synthetic": {"ipc": None}}, "synthetic.ipc is a NoneType"),
        ({"synthetic": {"ipc": np.int64(3)}}, "synthetic.ipc is a int64"),
        ({"seed": Path()}, "seed is a .*Path"),
    ],
)
def test_values_that_toml_does_not_have_are_named(tables, words):
    with pytest.raises(ddspec.SpecError, match=words):
        ddspec.load({**TABLES, **tables})


@pytest.mark.parametrize("source", [3, None, ["a.toml"]])
def test_load_of_something_else_says_what_a_spec_is(source):
    with pytest.raises(TypeError, match="a spec is a path, a dict or what"):
        ddspec.load(source)


@pytest.mark.parametrize(
    "overrides",
    [
        {"matching.syn_steps": 7, "synthetic.init": "noise", "evaluation.networks": ("mlp",)},
        ["matching.syn_steps=7", "synthetic.init=noise", "evaluation.networks=['mlp']"],
    ],
)
def test_overrides_are_values_or_options(smoke, overrides):
    spec = ddspec.load(smoke, overrides).spec
    assert spec.matching.syn_steps == 7
    assert spec.synthetic.init.name == "noise"
    assert spec.evaluation.networks == ("mlp",)


def test_override_may_be_a_table(smoke):
    spec = ddspec.load(smoke, {"matching.perturbation": {"rho": 0.5}}).spec
    assert spec.matching.perturbation.rho == 0.5


def test_one_option_alone_is_an_option(smoke):
    assert ddspec.load(smoke, "matching.syn_steps=7").spec.matching.syn_steps == 7


def test_compile_takes_a_path_and_gives_the_plan_of_the_loaded_spec(smoke, tmp_path):
    from_path = ddspec.compile(smoke, SHORT, store=tmp_path / "store")
    from_spec = ddspec.compile(ddspec.load(smoke, SHORT), store=tmp_path / "store")
    assert from_path.plan.digest == from_spec.plan.digest


def test_overrides_of_what_is_loaded_or_compiled_are_refused(smoke, tmp_path):
    with pytest.raises(ValueError, match=r"give overrides to ddspec\.load"):
        ddspec.compile(ddspec.load(smoke), SHORT)
    compiled = ddspec.compile(smoke, store=tmp_path / "store")
    with pytest.raises(ValueError, match=r"give overrides, store to ddspec\.compile"):
        ddspec.run(compiled, SHORT, store=tmp_path)


def test_run_takes_a_path_and_reports_to_the_callback(finished):
    folder, run, reports = finished
    assert run.record.outcome.status == "done"
    assert len(run.record.series.matching_loss) == 4
    assert run.folder.parent == folder / "runs"
    assert {"experts", "distill", "evaluate-convnet"} <= {report.step for report in reports}
    assert all(isinstance(report, ddspec.Progress) for report in reports)
    last = [report for report in reports if report.step == "distill"][-1]
    assert (last.done, last.total) == (4, 4)


def test_open_run_gives_the_same_record(finished):
    _, run, _ = finished
    assert ddspec.open_run(str(run.folder)).record == run.record


def test_progress_is_written_as_lines_by_default(finished, smoke, tmp_path, capsys):
    ddspec.run(smoke, {**SHORT, "seed": 3}, store=finished[0] / "store", runs=tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("distill 4/4 iterations, ") for line in lines)


def test_progress_may_be_switched_off(capsys):
    control = control_of(None)
    control.report(ddspec.Progress("distill", 1, 1, {}))
    control.say("waiting")
    assert capsys.readouterr().err == ""


def test_step_has_a_line_when_it_ends_and_not_for_every_report():
    stream = io.StringIO()
    progress = ddspec.TextProgress(stream)
    for done in (*range(1, 100), 100, 100):
        progress(ddspec.Progress("distill", done, 100, {"loss": 0.25}))
    assert stream.getvalue() == "distill 100/100, loss 0.25\n"


def test_progress_lines_survive_a_closed_stream(tmp_path):
    stream = (tmp_path / "log").open("w")
    stream.close()
    ddspec.TextProgress(stream)(ddspec.Progress("distill", 1, 1, {}))


def test_other_kinds_of_progress_are_refused(smoke, tmp_path):
    with pytest.raises(ValueError, match="'bar', not a function"):
        ddspec.run(smoke, on_progress="bar", store=tmp_path / "s", runs=tmp_path / "r")


@pytest.mark.slow
def test_exception_of_the_callback_ends_the_run_and_the_next_call_goes_on(
    finished, smoke, tmp_path
):
    def fail(progress):
        if progress.step == "distill":
            raise RuntimeError("enough")

    short = {**SHORT, "seed": 5}
    places = {"store": finished[0] / "store", "runs": tmp_path / "runs"}
    with pytest.raises(RuntimeError, match="enough"):
        ddspec.run(smoke, short, on_progress=fail, **places)
    assert ddspec.run(smoke, short, on_progress=None, **places).record.outcome.status == "done"


def sweep_tables():
    tables = tomllib.loads((Path(__file__).parent / "smoke.toml").read_text())
    tables["experts"]["count"] = 1
    return {**tables, "sweep": {"matching.iterations": [2, 3]}}


@pytest.mark.slow
def test_sweep_is_loaded_compiled_and_run_by_its_own_functions(finished, tmp_path):
    store = finished[0] / "store"
    loaded = ddspec.load_sweep(sweep_tables(), {"evaluation.every": 3})
    assert len(loaded.members) == 2
    compiled = ddspec.compile_sweep(loaded, store=store)
    assert len({plan.plan.digest for plan in compiled.plans}) == 2
    run = ddspec.run_sweep(compiled, runs=tmp_path / "runs", on_progress=None)
    assert [swept.status for swept in run.record.runs] == ["done", "done"]
    assert run.report.exists()
    again = ddspec.run_sweep(
        sweep_tables(),
        {"evaluation.every": 3},
        runs=tmp_path / "runs",
        store=store,
        on_progress=None,
    )
    assert again.record.digest == run.record.digest


def test_sweep_and_spec_are_not_mistaken_for_each_other(smoke, tmp_path):
    with pytest.raises(ddspec.SpecError, match=r"ddspec\.run_sweep"):
        ddspec.run(sweep_tables())
    with pytest.raises(ValueError, match=r"has no \[sweep\]"):
        ddspec.run_sweep(smoke)
    compiled = ddspec.compile_sweep(sweep_tables(), store=tmp_path / "store")
    with pytest.raises(TypeError, match=r"ddspec\.run_sweep takes sweeps"):
        ddspec.run(compiled)
    with pytest.raises(ValueError, match=r"give options to ddspec\.compile_sweep"):
        ddspec.run_sweep(compiled, store=tmp_path)
    with pytest.raises(ValueError, match=r"give overrides to ddspec\.load_sweep"):
        ddspec.compile_sweep(compiled.loaded, {"seed": 1})


@pytest.mark.slow
def test_report_index_and_comparison_are_written(finished, tmp_path):
    folder, run, _ = finished
    run.report.unlink()
    assert ddspec.report(run.folder) == run.report
    assert run.report.exists()
    assert ddspec.index(str(folder / "runs")) == folder / "runs" / "index.html"
    seen = []
    other = ddspec.run(
        Path(__file__).parent / "smoke.toml",
        {**SHORT, "seed": 2},
        runs=tmp_path / "runs",
        store=folder / "store",
        control=Control(report=seen.append),  # In place of a callback.
    )
    assert seen
    page, board = tmp_path / "both.html", tmp_path / "board.md"
    assert ddspec.compare([run.folder, other.folder], to=page, leaderboard=board) == page
    assert page.exists()
    assert board.exists()
    with pytest.raises(ddspec.RecordError, match="only one run"):
        ddspec.compare([run.folder], to=page)


def test_export_writes_the_forms_asked_for(finished, tmp_path):
    _, run, _ = finished
    names = {path.name for path in ddspec.export(run.folder, to=tmp_path / "npz", forms=["npz"])}
    assert any(name.endswith(".npz") for name in names)
    assert not any(name.endswith(".pt") for name in names)
    copied = ddspec.export(run.folder, to=tmp_path / "copy", forms=["run"])
    assert tmp_path / "copy" / "record.json" in copied
    shared = ddspec.export(run.folder, to=tmp_path / "share", forms=["share", "npz"])
    assert tmp_path / "share" / "set.h5" in shared


@pytest.mark.parametrize("forms", ["npz", ["zip"], ["run", "npz"]])
def test_export_refuses_other_forms(finished, tmp_path, forms):
    with pytest.raises(ValueError, match=r"npz|zip|combined"):
        ddspec.export(finished[1].folder, to=tmp_path / "x", forms=forms)


def test_exported_set_is_imported_again_and_evaluated(finished, tmp_path):
    folder, run, _ = finished
    shared = ddspec.export(run.folder, to=tmp_path / "share", forms=["share"])
    file = next(path for path in shared if path.name == "set.h5")
    made = ddspec.import_set(file, dataset="digits", store=tmp_path / "store", lr=0.5)
    assert (made.ipc, made.classes, made.student_lr) == (1, 10, 0.5)
    spec = {
        **TABLES,
        "dataset": {"name": "digits"},
        "synthetic": {"ipc": 1, "init": {"name": "imported", "set": made.name}},
        "evaluation": {"repeats": 1, "epochs": 2},
    }
    judged = ddspec.run(spec, store=tmp_path / "store", runs=tmp_path / "runs", on_progress=None)
    assert judged.record.results.accuracy.n == 1
    assert folder != tmp_path


def test_import_of_a_broken_file_is_an_exception(tmp_path):
    (tmp_path / "replay_buffer_0.pt").write_bytes(b"nothing")
    with pytest.raises(ddspec.DataError):
        ddspec.import_experts([tmp_path / "replay_buffer_0.pt"], store=tmp_path / "store")


def test_one_path_in_place_of_a_list_is_refused():
    for function in (ddspec.compare, ddspec.import_experts):
        with pytest.raises(TypeError, match="such as \\['runs/a'\\]"):
            function("runs/a")


def test_replay_buffer_is_imported_as_experts(tmp_path):
    loaded = ddspec.load(TABLES)
    sizes = ddspec.compile(loaded, store=tmp_path / "store").plan.network_parameters
    assert sizes
    conv, norm, linear = (8, 1, 3, 3), (8,), (2, 128)
    trajectory = [
        [torch.randn(shape) for shape in (conv, norm, norm, norm, linear, (2,))] for _ in range(3)
    ]
    assert sum(tensor.numel() for tensor in trajectory[0]) == sizes
    torch.save([trajectory], tmp_path / "replay_buffer_0.pt")
    experts = ddspec.import_experts([tmp_path / "replay_buffer_0.pt"], store=tmp_path / "store")
    assert (experts.count, experts.epochs) == (1, 2)


@pytest.mark.slow
def test_reproduce_and_verify_take_paths_as_text(finished, tmp_path):
    folder, run, _ = finished
    seen = []
    result = ddspec.reproduce(
        str(run.folder / "record.json"), to=str(tmp_path), on_progress=seen.append
    )
    assert result.reproduction.verdict == "PASS"
    assert repr(result) == f"<ReproductionResult {result.folder}: PASS>"
    assert seen
    findings = list(ddspec.verify(str(run.folder), store=str(folder / "store"), evaluate=False))
    assert {finding.verdict for finding in findings} == {"ok", "not checked"}


def test_faults_are_exceptions_of_ddspec(tmp_path):
    with pytest.raises(ddspec.SpecError, match="does not exist"):
        ddspec.run("missing.toml")
    with pytest.raises(ddspec.DataError):
        ddspec.run({**TABLES, "dataset": {"name": "cifar10"}}, data=tmp_path, fetch=False)
    for function in (ddspec.open_run, ddspec.report, ddspec.index, ddspec.export):
        with pytest.raises(ddspec.RecordError):
            function(tmp_path)
    assert issubclass(ddspec.SpecError, ddspec.DdspecError)


def test_short_texts_fit_on_a_line(finished, smoke):
    folder, run, _ = finished
    compiled = ddspec.compile(smoke, SHORT, store=folder / "store")
    assert repr(compiled.loaded) == (
        "<LoadedSpec smoke: digits, 1 per class, trajectory matching, 4 iterations>"
    )
    accuracy = run.record.results.accuracy
    headline = f"done, {accuracy.mean:.2f} +- {accuracy.std:.2f} % (n = 2, convnet)"
    assert repr(run) == f"<Run {run.folder}: {headline}>"
    assert repr(run.record) == f"<Record {run.folder.name}: {headline}>"
    assert repr(compiled.plan).startswith(f"<Plan {run.folder.name}: ")
    assert repr(compiled) == (
        f"<CompiledSpec {run.folder.name}: {len(compiled.plan.steps)} steps, {folder / 'store'}>"
    )
    assert repr(ddspec.load_sweep(sweep_tables())) == (
        "<LoadedSweep <dict>: 2 runs over matching.iterations (2)>"
    )


def test_notebooks_show_tables_and_the_images_of_a_run(finished, smoke):
    folder, run, _ = finished
    compiled = ddspec.compile(smoke, SHORT, store=folder / "store")
    assert "<td>trajectory</td>" in compiled.loaded._repr_html_()
    assert compiled._repr_html_() == compiled.plan._repr_html_()
    for step in compiled.plan.steps:
        assert f"<td>{step.id}</td>" in compiled.plan._repr_html_()
    shown = run._repr_html_()
    assert '<img src="data:image/png;base64,' in shown
    assert f"{run.record.results.accuracy.mean:.2f}" in shown
    assert "random real images" in run.record._repr_html_()


def test_texts_of_others_are_escaped_in_notebooks(smoke):
    loaded = ddspec.load(smoke, {"title": "<script>alert(1)</script>"})
    assert "<script>" not in loaded._repr_html_()


def test_picture_has_a_column_per_class(finished):
    import base64
    import io
    import re

    from PIL import Image

    _, run, _ = finished
    sheet = max(run.record.sheets, key=lambda sheet: sheet.iteration)
    with Image.open(run.folder / "images" / sheet.file) as whole:
        classes = [np.asarray(whole)[row * 8 : row * 8 + 8] for row in range(10)]
    data = re.search(r"base64,([^\"]+)", run._repr_html_())
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as picture:
        assert np.array_equal(np.asarray(picture), np.concatenate(classes, axis=1))


def test_run_without_its_images_is_still_shown(finished, tmp_path):
    _, run, _ = finished
    shutil.copytree(run.folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "images")
    shown = ddspec.open_run(tmp_path / "copy")._repr_html_()
    assert "<img" not in shown
    assert "<table>" in shown

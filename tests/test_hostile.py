"""Records and run folders from strangers are read or refused with a message."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from ddspec.dsl.diagnostics import DdspecError, RecordError
from ddspec.engine.exchange.export import export_run
from ddspec.reports.pages.run import read_record, render_run
from ddspec.reproduction import read_shared
from ddspec.verification import Finding, verify
from tests.in_slow_run import first_by_default

JUNK = [
    *(
        None,
        True,
        -1,
        0,
        1,
        2**70,
        -(2**70),
        1e308,
        -0.0,
        "",
        "x" * 5000,
        "../../outside",
        "/etc/x",
    ),
    *([], {}, [[]], [None], "</script><script>alert(1)</script>", "\x00", "$\\frac{x$", "\u202e"),
    *("nan", "0" * 32, "convnet", "last", "distilled", [1.0] * 50, {"a": {"b": {"c": 1}}}),
]


def make_unfit(path: Path, kind: str) -> None:
    """Put something that is not a regular file at a path."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(path.name)


@pytest.fixture
def made(smoke_run: Path) -> Path:
    """A run folder, with its store beside the runs folder."""
    return smoke_run


def mutated(text: str, draw: random.Random) -> str:
    """Return a record with replaced, dropped or doubled values, or changed bytes."""
    if draw.random() < 0.2:
        content = bytearray(text.encode())
        for _ in range(draw.randint(1, 6)):
            content[draw.randrange(len(content))] = draw.randrange(32, 127)
        return content.decode(errors="replace")
    document = json.loads(text)
    for _ in range(draw.randint(1, 3)):
        at, parent, key = document, None, None
        for _ in range(draw.randint(1, 8)):
            if isinstance(at, dict) and at:
                parent, key = at, draw.choice(list(at))
            elif isinstance(at, list) and at:
                parent, key = at, draw.randrange(len(at))
            else:
                break
            at = parent[key]
        if parent is None:
            continue
        match draw.randrange(5):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.append(parent[key])
            case 2 if isinstance(at, str) and at:
                cut = draw.randrange(len(at))
                parent[key] = at[:cut] + str(draw.choice(JUNK)) + at[cut:]
            case 3 if isinstance(at, int | float) and not isinstance(at, bool):
                parent[key] = draw.choice([at + 1, -at, at * 10**6, 0, 1e300])
            case _:
                parent[key] = draw.choice(JUNK)
    return json.dumps(document)


def accepted(action) -> bool:
    """Return whether the action succeeded; False if it was refused with a message."""
    try:
        action()
        return True
    except DdspecError as error:
        assert str(error)
        return False


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_thousand_damaged_records_are_read_or_refused(
    made: Path, tmp_path: Path, no_hang, seed: int
):
    run = tmp_path / "inside" / made.name
    shutil.copytree(made, run)
    text, page = (made / "record.json").read_text(), (made / "report.html").read_text()
    head, tail = page.split('id="record">')
    tail = tail.split("</script>", 1)[1]
    outside, store = sorted(tmp_path.iterdir()), made.parent.parent / "store"
    draw, rendered = random.Random(seed), 0
    for _ in range(250):
        changed = mutated(text, draw)
        (run / "record.json").write_text(changed)
        embedded = changed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        shared = tmp_path / "inside" / "report.html"
        shared.write_text(f'{head}id="record">{embedded}</script>{tail}')
        with no_hang(changed):
            rendered += accepted(lambda: render_run(run))
            accepted(lambda: list(verify(run, store=store, evaluate=False)))
            accepted(lambda: read_shared(run / "record.json"))
            accepted(lambda shared=shared: read_shared(shared))
    assert rendered > 0
    assert sorted(tmp_path.iterdir()) == outside
    assert sorted(p.name for p in (tmp_path / "inside").iterdir()) == sorted(
        [run.name, "report.html"]
    )


@pytest.mark.parametrize("kind", ["pipe", "leads to itself"])
@pytest.mark.parametrize(
    "name",
    first_by_default(
        [
            *("record.json", "synthetic.h5", "report.html", "plan.json", "spec.toml"),
            *("images/iteration-000012.png",),
        ],
        2,
    ),
)
def test_nothing_waits_for_a_file_that_is_not_regular(
    made: Path, tmp_path: Path, no_hang, name: str, kind: str
):
    run, store = tmp_path / made.name, made.parent.parent / "store"
    shutil.copytree(made, run)
    (run / name).unlink()
    make_unfit(run / name, kind)
    with no_hang(name):
        try:
            findings = list(verify(run, store=store, evaluate=False))
        except RecordError as error:
            findings = [Finding(str(error), "fault")]
        assert any(finding.verdict == "fault" for finding in findings)
        assert accepted(lambda: export_run(run, read_record(run), tmp_path / "out")) == (
            name not in ("record.json", "synthetic.h5")
        )
        for shared in ("record.json", "report.html"):
            assert accepted(lambda path=run / shared: read_shared(path)) == (name != shared)
        accepted(lambda: render_run(run))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_artifact_that_is_not_a_regular_file_is_a_fault(made, tmp_path, no_hang, kind: str):
    shutil.copytree(made.parent.parent, tmp_path / "copy")
    for folder in ("evaluation", "expert", "notes", "preimages"):
        path = min((tmp_path / "copy" / "store" / folder).iterdir())
        path.unlink()
        make_unfit(path, kind)
    with no_hang(kind):
        findings = verify(
            tmp_path / "copy" / "runs" / made.name,
            store=tmp_path / "copy" / "store",
            evaluate=False,
        )
        details = [finding.detail for finding in findings if finding.verdict == "fault"]
        assert [f"{kind}, not a regular file" in detail for detail in details] == [True, True]


@pytest.mark.parametrize(
    "part", ["<a ", "<!--", "<![CDATA[", "<?", "<script", "<script>", '<svg class="chart"', "</"]
)
def test_any_page_is_read_in_linear_time(tmp_path: Path, part: str):
    page = tmp_path / "report.html"
    page.write_text(part * 300_000)
    start = time.process_time()
    with pytest.raises(RecordError, match="no embedded"):
        read_shared(page)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "how", ["external link", "soft link", "elsewhere", "virtual", "large", "unwritten"]
)
def test_synthetic_set_stored_outside_its_file_is_not_read(made: Path, tmp_path: Path, how: str):
    run = tmp_path / made.name
    shutil.copytree(made, run)
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["images"] = np.zeros((10, 1, 8, 8), dtype=np.float32)
    with h5py.File(run / "synthetic.h5", "r+") as file:
        del file["images"]
        match how:
            case "external link":
                file["images"] = h5py.ExternalLink(str(secret), "/images")
            case "soft link":
                file["images"] = h5py.SoftLink("/labels")
            case "elsewhere":
                raw = [(str(tmp_path / "raw"), 0, 2560)]
                file.create_dataset("images", (10, 1, 8, 8), dtype="f4", external=raw)
            case "virtual":
                layout = h5py.VirtualLayout((10, 1, 8, 8), dtype="f4")
                layout[...] = h5py.VirtualSource(secret, "images", shape=(10, 1, 8, 8))
                file.create_virtual_dataset("images", layout)
            case "unwritten":
                file.create_dataset("images", (10, 1, 8, 8), dtype="f4")
            case _:
                shape = (10**6, 10**6)
                file.create_dataset("images", shape, dtype="f4", chunks=(1, 1024))
    with pytest.raises(RecordError, match=r"synthetic\.h5"):
        export_run(run, read_record(run), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_a_run_folder_are_not_followed(made: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("figures", "images"):
        run = tmp_path / name / made.name
        shutil.copytree(made, run)
        shutil.rmtree(run / name)
        (run / name).symlink_to(elsewhere)
        with pytest.raises(RecordError, match="is a link"):
            render_run(run)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("plan", "steps", 1, "route", "threads"), -5),
        (("plan", "steps", 1, "processes"), 100_000),
        (("plan", "steps", 3, "route", "keep_every"), 0),
        (("dataset", "fingerprint"), "`<script>"),
    ],
)
def test_plan_that_would_overload_the_machine_is_refused(made: Path, tmp_path: Path, path, value):
    document = json.loads((made / "record.json").read_text())
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(RecordError, match=str(path[-1])):
        read_shared(tmp_path / "record.json")


def test_synthetic_set_with_missing_or_mistyped_arrays_is_not_exported(made, tmp_path):
    for number, (name, array) in enumerate(
        {
            "mean": None,
            "images": np.full((10, 1, 8, 8), b"x"),
            "labels": np.full(10, b"x"),
            "std": np.zeros((3, 3)),
        }.items()
    ):
        run = tmp_path / str(number) / made.name
        shutil.copytree(made, run)
        with h5py.File(run / "synthetic.h5", "r+") as file:
            del file[name]
            if array is not None:
                file[name] = array
        record = read_record(run).model_copy(update={"files": {}})
        with pytest.raises(RecordError):
            export_run(run, record, tmp_path / "out")
        with pytest.raises(RecordError, match="not the file that the run wrote"):
            zeros = tmp_path / f"zeros-{number}"
            shutil.copytree(made, zeros)
            with h5py.File(zeros / "synthetic.h5", "r+") as file:
                file["images"][...] = 0
            export_run(zeros, read_record(zeros), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_small_file_that_claims_a_huge_set_is_refused_before_memory_is_taken(made, tmp_path):
    """The plan of a stranger's record may claim as much as its synthetic.h5."""
    run = tmp_path / made.name
    shutil.copytree(made, run)
    record = read_record(run)
    steps = [
        step.model_copy(update={"synthetic": step.synthetic.model_copy(update={"ipc": 10**6})})
        if step.kind == "distill"
        else step
        for step in record.plan.steps
    ]
    plan = record.plan.model_copy(update={"steps": tuple(steps)})
    with h5py.File(run / "synthetic.h5", "r+") as file:
        for name, shape in (("images", (10**7, 1, 8, 8)), ("labels", (10**7,))):
            dtype = file[name].dtype
            del file[name]
            file.create_dataset(name, shape, dtype=dtype, chunks=True)
    with pytest.raises(RecordError, match="bytes does not hold the 2,560,000,000 bytes"):
        export_run(run, record.model_copy(update={"plan": plan, "files": {}}), tmp_path / "out")


def test_artifact_that_claims_more_than_it_holds_is_a_fault(made, tmp_path):
    shutil.copytree(made.parent.parent, tmp_path / "copy")
    store = tmp_path / "copy" / "store"
    path = min((store / "expert").iterdir())
    with h5py.File(path, "r+") as file:
        del file["theta"]
        file.create_dataset("theta", (10**6, 10**6), dtype="f4", chunks=(1, 1024))
    findings = verify(tmp_path / "copy" / "runs" / made.name, store=store, evaluate=False)
    assert [f.what.partition("/")[0] for f in findings if f.verdict == "fault"] == [
        "experts: expert"
    ]


def test_export_of_a_plan_whose_first_step_has_another_name_answers_in_words(cli, made, tmp_path):
    run = tmp_path / made.name
    shutil.copytree(made, run)
    text = (run / "record.json").read_text()
    document = json.loads(text)
    document["plan"]["steps"][0]["id"] = "other"
    (run / "record.json").write_text(json.dumps(document))
    answer = cli("export", run, "--to", tmp_path / "out")
    assert answer.returncode in (0, 5)
    assert answer.stdout or "error" in answer.stderr


def test_nothing_is_written_where_a_link_leads_nowhere(cli, made: Path, tmp_path: Path):
    target, link = tmp_path / "target", tmp_path / "link.toml"
    link.symlink_to(target)
    for arguments in (
        ("new", "digits_ipc1", "--to", link),
        ("compare", made, made, "--to", link),
        ("export", made, "--to", link),
    ):
        assert cli(*arguments).returncode != 0, arguments
        assert link.is_symlink()
        assert not target.exists()

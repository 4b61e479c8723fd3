"""Parts that installed packages add to the language: checked, run, named in digests, refused."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import ddspec
from ddspec.cli.runs import cited_specs
from ddspec.differences import compare_experiments
from ddspec.dsl.diagnostics import DataError, MachineError, RecordError, SpecError
from ddspec.dsl.extensions.installed import installed_extension
from ddspec.dsl.keys.extension import ExtensionLoss
from ddspec.dsl.parsing.loader import LoadedSweep, load_spec, load_spec_or_sweep
from ddspec.dsl.reference.explain import explain, list_of_subjects
from ddspec.dsl.spec.objectives.trajectory import MatchedParameters
from ddspec.engine.maintenance.doctor import extension_checks
from ddspec.engine.matching.losses import MatchTarget, matching_losses
from ddspec.engine.numerics.extension_code import function_of
from ddspec.recorded_spec import load_recorded_spec
from ddspec.verification import verify

EXAMPLE = Path(__file__).parent.parent / "examples" / "extension"
LP = "matching.loss={name='mylab/lp', p=2.0}"
MOMENTS = ("matching={objective='mylab/moments', variance=0.5}", "evaluation.lr=0.01")
MOMENTS += ("synthetic={ipc=1, images={lr=1.0}}",)
WIDE = "network={name='mylab/wide', filters=6}"
STRIPES = "dataset={name='mylab/stripes', resolution=8}"

SHORT = ("experts.count=1", "matching.iterations=2", "evaluation.every=2", "evaluation.repeats=1")
SHORT += ("evaluation.baselines=[]",)

Install = Callable[..., Path]


def forget() -> None:
    """Make the next spec look for installed packages anew, as the next process does."""
    installed_extension.cache_clear()
    function_of.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab_parts"]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that lays the example package where pip would, and changes its files."""

    def lay(version: str = "1.0", owner: str = "mylab", **changes: str) -> Path:
        site = tmp_path / f"site-{len(list(tmp_path.glob('site-*')))}"
        shutil.copytree(EXAMPLE / "mylab_parts", site / "mylab_parts")
        for module, text in changes.items():
            path = site / "mylab_parts" / f"{module}.py"
            path.write_text(path.read_text() + text)
        about = site / f"mylab_parts-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: mylab-parts\nVersion: {version}\n"
        )
        (about / "entry_points.txt").write_text(
            f"[ddspec.extensions]\n{owner} = mylab_parts:EXTENSION\n"
        )
        for earlier in tmp_path.glob("site-*"):
            while str(earlier) in sys.path:
                sys.path.remove(str(earlier))
        monkeypatch.syspath_prepend(str(site))
        forget()
        return site

    yield lay
    forget()


def distilled(smoke: Path, *overrides: str) -> str:
    return ddspec.compile(ddspec.load(smoke, overrides)).plan.distill.digest


def test_loss_is_that_of_the_package(install: Install):
    install()
    student, target, start = (torch.randn(9, dtype=torch.float64) for _ in range(3))
    part = ExtensionLoss.model_validate({"name": "mylab/lp", "p": 3.0})
    differences = np.abs((student - target).numpy()) ** 3, np.abs((start - target).numpy()) ** 3
    expected = differences[0].sum() / differences[1].sum()
    losses, slopes = matching_losses([start, student], [MatchTarget(1, target, 0.5)], start, part)
    assert losses.item() == pytest.approx(0.5 * expected, rel=1e-13)
    by_hand = 3 * (student - target).square() * (student - target).sign() / differences[1].sum()
    torch.testing.assert_close(slopes[1], 0.5 * by_hand, rtol=1e-12, atol=0)


def test_loss_gets_the_matched_part_of_the_parameters(install: Install):
    install()
    student, target, start = (torch.randn(9, dtype=torch.float64) for _ in range(3))
    loss = ExtensionLoss.model_validate({"name": "mylab/lp", "p": 3.0})
    goals, whole = [MatchTarget(1, target)], [MatchTarget(1, target[4:])]
    losses, slopes = matching_losses(
        [start, student], goals, start, loss, MatchedParameters(drop=0.5)
    )
    expected, deep = matching_losses([start[4:], student[4:]], whole, start[4:], loss)
    assert torch.equal(losses, expected)
    assert torch.equal(slopes[1], torch.cat([torch.zeros(4, dtype=torch.float64), deep[1]]))


@pytest.mark.parametrize(
    "overrides",
    [
        MOMENTS,
        pytest.param((LP,), marks=pytest.mark.slow),
        pytest.param((STRIPES,), marks=pytest.mark.slow),
        pytest.param((WIDE,), marks=pytest.mark.slow),
        pytest.param(("evaluation.networks=['mylab/wide']",), marks=pytest.mark.slow),
    ],
)
def test_run_ends_and_its_record_names_the_code(
    overrides: tuple[str, ...], install: Install, smoke: Path, tmp_path: Path
):
    install()
    extension = installed_extension("mylab")
    run = ddspec.run(smoke, (*overrides, *SHORT), store=tmp_path / "store", runs=tmp_path / "runs")
    assert run.record.outcome.status == "done"
    plan, page = (run.folder / "plan.json").read_text(), (run.folder / "report.html").read_text()
    for text in (plan, page):
        assert extension.code in text and '"mylab/' in text
    findings = list(verify(run.folder, store=tmp_path / "store"))
    assert [found for found in findings if found.verdict == "fault"] == []


@pytest.mark.parametrize("overrides", [(LP,), MOMENTS, (WIDE,)])
def test_keys_version_and_files_rename_the_synthetic_set(
    overrides: tuple[str, ...], install: Install, smoke: Path
):
    changed = {LP: "matching.loss.p=4.0", WIDE: "network.filters=7"}
    install()
    names = [distilled(smoke, *overrides)]
    names.append(distilled(smoke, *overrides, changed.get(overrides[0], "matching.variance=2.0")))
    install("1.1")
    names.append(distilled(smoke, *overrides))
    install("1.1", parts="\n# another code\n")
    names.append(distilled(smoke, *overrides))
    assert len(set(names)) == 4


def test_images_of_a_reader_are_known_by_their_content(install: Install, smoke: Path):
    install()
    before = ddspec.compile(ddspec.load(smoke, [STRIPES])).plan
    assert before.dataset.facts.class_names == ("across", "down")
    assert before.dataset.facts.train_per_class == (40, 40)
    install("1.1")
    assert ddspec.compile(ddspec.load(smoke, [STRIPES])).plan.digest == before.digest
    install("1.1", parts="\ninner = stripes\ndef stripes(folder):\n    value = inner(folder)\n"
            "    value['train'][0][:] += 1\n    return value\n")  # fmt: skip
    assert ddspec.compile(ddspec.load(smoke, [STRIPES])).plan.digest != before.digest


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("3", "not a mapping with train, test and classes"),
        ("{**inner(folder), 'classes': ['one']}", "not two or more different names"),
        ("{**inner(folder), 'train': 3}", "not a pair of images and labels"),
        ("{**inner(folder), 'test': (np.zeros((2, 8, 8)), np.zeros(2, int))}", "not bytes"),
        ("{**inner(folder), 'test': (np.zeros((2, 9, 8), 'u1'), [0, 1])}", "different shapes"),
        ("{**inner(folder), 'test': (np.zeros((2, 8, 8), 'u1'), [0, 2])}", "labels from 0 to 2"),
        ("{**inner(folder), 'test': (np.zeros((2, 8, 8), 'u1'), [0])}", "2 images, but"),
    ],
)
def test_reader_that_delivers_no_dataset_is_an_error_in_words(
    value: str, words: str, install: Install, smoke: Path
):
    install(parts=f"\ninner = stripes\ndef stripes(folder):\n    return {value}\n")
    with pytest.raises(DataError, match=words):
        ddspec.compile(ddspec.load(smoke, [STRIPES]))


def test_images_of_a_reader_are_read_again_if_its_code_or_its_files_change(
    install: Install, smoke: Path, tmp_path: Path
):
    data = tmp_path / "data" / "stripes"
    data.mkdir(parents=True)
    for name, pixel in (("a", 10), ("b", 20)):
        images = np.full((4, 8, 8), pixel, np.uint8)
        np.savez(data / f"{name}.npz", images=images, labels=np.array([0, 0, 1, 1]))
    read = (
        "\ndef stripes(folder):\n    part = [dict(np.load(folder / (n + '.npz'))) for n in 'ab']\n"
    )
    read += "    pairs = [(p['images'] + {}, p['labels']) for p in part]\n"
    read += "    return dict(train=pairs[0], test=pairs[1], classes=['x', 'y'])\n"

    def fingerprint():
        loaded = ddspec.load(smoke, ["dataset.name=mylab/stripes"])
        return ddspec.compile(loaded, data=tmp_path / "data").plan.dataset.facts.fingerprint

    install(parts=read.format("np.uint8(0)"))
    names = [fingerprint()]
    install(parts=read.format("np.uint8(1)"))
    names.append(fingerprint())
    np.savez(data / "a.npz", images=np.full((4, 8, 8), 3, np.uint8), labels=np.array([0, 0, 1, 1]))
    names.append(fingerprint())
    assert len(set(names)) == 3


def test_default_written_out_changes_no_digest(install: Install, smoke: Path):
    install()
    short = distilled(smoke, "matching.loss=mylab/lp")
    assert short == distilled(smoke, "matching.loss={name='mylab/lp', p=1.0}")


def test_checking_a_spec_imports_neither_the_code_nor_torch(install: Install, smoke: Path):
    site = install()
    code = "import sys; from ddspec.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
    code += "assert not {'torch', 'mylab_parts.parts'} & set(sys.modules)"
    command = [sys.executable, "-c", code, "check", str(smoke), "--set", LP]
    path = {"PYTHONPATH": f"{site}:{Path(__file__).parent.parent}"}
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_norm_of_the_field_is_trained_and_a_frozen_parameter_is_not(install: Install, smoke: Path):
    head = (
        "\ndef wide(channels, height, width, classes, filters):\n    net = nn.Sequential(nn.Conv2d("
    )
    head += "channels, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Flatten(), "
    head += "nn.Linear(4 * (height - 2) * (width - 2), classes))\n"
    install(parts=head + "    return net\n")
    ddspec.compile(ddspec.load(smoke, [WIDE]))
    install(parts=head + "    net[0].weight.requires_grad_(False)\n    return net\n")
    with pytest.raises(MachineError, match="frozen"):
        ddspec.compile(ddspec.load(smoke, [WIDE]))


def test_files_that_change_between_check_and_run_are_refused(install: Install, smoke: Path):
    site = install()
    load_spec(smoke, [LP])
    path = site / "mylab_parts" / "parts.py"
    path.write_text(path.read_text() + "\n# another code\n")
    extension = installed_extension("mylab")
    with pytest.raises(MachineError, match="changed since this command began"):
        function_of("losses", "mylab/lp", extension.version, extension.code)


def test_files_below_linked_folders_are_hashed_and_hidden_ones_are_not(install: Install):
    site = install()
    before = installed_extension("mylab").code
    (site / "mylab_parts" / ".notes").write_text("x")
    forget()
    assert installed_extension("mylab").code == before
    outside = site / "outside"
    outside.mkdir()
    (outside / "more.py").write_text("x = 1\n")
    (site / "mylab_parts" / "inner").symlink_to(outside)
    forget()
    linked = installed_extension("mylab").code
    (outside / "more.py").write_text("x = 2\n")
    forget()
    assert len({before, linked, installed_extension("mylab").code}) == 3
    (outside / "loop").symlink_to(outside)
    forget()
    assert installed_extension("mylab").code not in {before, linked, ""}


def test_explain_says_what_a_part_is_and_lists_its_keys(install: Install, cli):
    install()
    answer = cli("explain", "mylab/lp")
    assert answer.returncode == 0
    for words in ("mylab-parts 1.0", "for      matching.loss", "at least 1 and at most 8"):
        assert words in answer.stdout
    refused = cli("explain", "mylab/pl")
    assert refused.returncode == 5
    assert "its losses: mylab/lp" in refused.stderr


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("matching.loss=mylab/pl", "extension-missing", "its losses: mylab/lp"),
        ("matching.loss=otherlab/lp", "extension-missing", "installed owners:"),
        ("matching.loss={name='mylab/lp', q=2.0}", "unknown-key", "its keys: `p`"),
        ("matching.loss={name='mylab/lp', pp=2.0}", "unknown-key", "did you mean `p`?"),
        (
            "matching.loss={name='mylab/lp', p=0.5}",
            "out-of-range",
            "must be at least 1 and at most 8",
        ),
        ("matching.loss={name='mylab/lp', p='two'}", "wrong-type", "must be a number"),
        ("matching.loss={name='mylab/lp', version='0.9'}", "extension-missing", "mylab-parts==0.9"),
        (f"matching.loss={{name='mylab/lp', code='{'0' * 32}'}}", "extension-missing", "00000000"),
        ("network=mylab/lp", "extension-missing", "its networks: mylab/wide"),
        ("evaluation.networks=['mylab/narrow']", "extension-missing", "mylab/wide"),
        ("matching.loss={name='mylab/lp', p=nan}", "wrong-type", "a finite number"),
        ("matching.loss={name='mylab/lp', p=[1.0]}", "wrong-type", "is a list"),
        ("matching.loss=Mylab/lp", "out-of-range", "must be a name of an installed extension"),
        ("matching={objective={name='mylab/lp'}}", "wrong-type", "is a table"),
    ],
)
def test_fault_in_a_part_is_a_finding_at_its_key(
    override: str, code: str, words: str, install: Install, smoke: Path
):
    install()
    with pytest.raises(SpecError) as caught:
        load_spec(smoke, [override])
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in f"{found.message} {found.hint}"
    assert override in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"__init__": "\nraise RuntimeError('half written')\n"}, "RuntimeError: half written"),
        ({"__init__": "\nEXTENSION = 3\n"}, "is not a ddspec.extensions.Extension"),
        (
            {"__init__": "\nEXTENSION = Extension(losses={'lp': Part('os:system')})\n"},
            "is not a module:function of mylab_parts",
        ),
        ({"__init__": "\nraise SystemExit(3)\n"}, "SystemExit"),
        ({"__init__": "\nEXTENSION = Extension(losses=['lp'])\n"}, "not a mapping"),
        ({"__init__": "\nEXTENSION = Extension(losses={'lp': 'm:f'})\n"}, "is not a Part"),
        ({"__init__": "\nEXTENSION = Extension(losses={'lp': Part(None)})\n"}, "is not a Part"),
        ({"__init__": "\nEXTENSION = Extension(losses={'LP': Part('mylab_parts.parts:lp')})\n"},
         "no spec can say"),
        ({"__init__": "\nEXTENSION = Extension(losses={'lp': Part('mylab_parts.parts:lp', 'x')})\n"},
         "not a class derived from Keys"),
        ({"__init__": "\nclass K(Keys):\n    p: list[int] = key([1], source='x')\n"
          "EXTENSION = Extension(losses={'lp': Part('mylab_parts.parts:lp', K)})\n"},
         "not bool, int, float or str"),
        (
            {"__init__": "\nclass K(Keys):\n    start: int = key(1, source='x')\n"
             "EXTENSION = Extension(losses={'lp': Part('mylab_parts.parts:lp', K)})\n"},
            "reserved name start",
        ),
    ],
)  # fmt: skip
def test_faulty_declaration_is_a_finding_without_a_traceback(
    change: dict[str, str], words: str, install: Install, smoke: Path
):
    install(**change)
    with pytest.raises(SpecError, match=words):
        load_spec(smoke, ["matching.loss=mylab/lp"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def lp(student, target, start, p): return 1 / 0", "ZeroDivisionError.*division by zero"),
        ("def lp(student, target, start, p): return student - target", "one number"),
        ("def lp(student, target, start, p): return 3.0", "one number"),
        ("import no_such_module", "cannot be imported"),
        ("def lp(student, target, start, p): raise SystemExit(3)", "SystemExit"),
        ("def lp(student, target, start, p): return start.sum()", "does not depend on"),
        (
            "import torch\ndef lp(student, p, **_): return (student * torch.rand(9)).sum()",
            "random numbers",
        ),
        ("def lp(student, target, start, p): return (student - target.zero_()).sum()", "changed"),
    ],
)
def test_faulty_code_is_an_error_without_a_traceback(code: str, words: str, install: Install):
    install(parts=f"\n{code}\n")
    part = ExtensionLoss.model_validate({"name": "mylab/lp", "p": 2.0})
    student, target, start = (torch.randn(9) for _ in range(3))
    with pytest.raises(MachineError, match=words):
        matching_losses([start, student], [MatchTarget(1, target)], start, part)


def test_network_that_is_no_sequence_judges_and_is_not_trained(install: Install, smoke: Path):
    install(
        parts="\nclass Judge(nn.Module):\n"
        "    def __init__(self, net):\n        super().__init__()\n        self.net = net\n"
        "    def forward(self, images):\n        return self.net(images)\n"
        "inner = wide\ndef wide(**keys):\n    return Judge(inner(**keys))\n"
    )
    with pytest.raises(MachineError, match=r"not an nn\.Sequential"):
        ddspec.compile(ddspec.load(smoke, [WIDE]))
    ddspec.compile(ddspec.load(smoke, ["evaluation.networks=['mylab/wide']"]))


def test_without_the_package_a_run_is_read_but_not_reproduced(
    install: Install, smoke: Path, tmp_path: Path
):
    site = install()
    run = ddspec.run(smoke, [LP, *SHORT], store=tmp_path / "store", runs=tmp_path / "runs")
    sys.path.remove(str(site))
    forget()
    assert ddspec.open_run(run.folder).record.outcome.status == "done"
    page = run.folder / "report.html"
    with pytest.raises(SpecError, match="installed here adds mylab"):
        load_recorded_spec(run.record)
    with pytest.raises(SpecError, match="installed here adds mylab"):
        ddspec.reproduce(page, store=tmp_path / "other", to=tmp_path / "others")
    verdicts = {found.what: found.verdict for found in verify(run.folder, store=tmp_path / "store")}
    assert "fault" not in verdicts.values()
    assert verdicts["spec, overrides and resolved spec"] == "not checked"
    assert "mylab/lp" in ddspec.report(run.folder).read_text()
    assert compare_experiments(run.folder, page).settings == ()
    assert [spec.matching.loss.part for spec in cited_specs(run.folder, ())] == ["mylab/lp"]
    shared = tmp_path / "shared"
    ddspec.export(run.folder, to=shared, forms=["npz", "share"])
    assert {path.name for path in shared.iterdir()} >= {"synthetic.npz", "set.h5", "spec.toml"}


def test_export_that_fails_leaves_nothing(install: Install, smoke: Path, tmp_path: Path):
    install()
    run = ddspec.run(smoke, [LP, *SHORT], store=tmp_path / "store", runs=tmp_path / "runs")
    record = run.folder / "record.json"
    record.write_text(record.read_text().replace('"ddspec = 1\\n', '"ddspec = 2\\n'))
    with pytest.raises(RecordError):
        ddspec.export(run.folder, to=tmp_path / "shared", forms=["npz", "share"])
    assert not (tmp_path / "shared").exists()


def test_other_code_is_refused_by_name_before_anything_is_computed(
    install: Install, smoke: Path, tmp_path: Path
):
    install()
    run = ddspec.run(smoke, [LP, *SHORT], store=tmp_path / "store", runs=tmp_path / "runs")
    install(parts="\n# another code\n")
    with pytest.raises(SpecError, match="code with the hash"):
        ddspec.reproduce(run.folder / "record.json", to=tmp_path / "others")
    assert not (tmp_path / "others").exists()


def test_keys_of_a_part_are_an_axis_of_a_sweep(install: Install, smoke: Path, tmp_path: Path):
    install()
    text = smoke.read_text() + '\n[sweep]\n"matching.loss.KEY" = [1.0, 2.0]\n'
    path = tmp_path / "sweep.toml"
    path.write_text(text.replace("KEY", "p"))
    loaded = load_spec_or_sweep(path, ["matching.loss.name=mylab/lp"])
    assert isinstance(loaded, LoadedSweep)
    losses = [member.loaded.spec.matching.loss for member in loaded.members]
    assert [loss.keys for loss in losses] == [{"p": 1.0}, {"p": 2.0}]
    path.write_text(text.replace("KEY", "q"))
    with pytest.raises(SpecError, match="mylab/lp has no key `q`"):
        load_spec_or_sweep(path, ["matching.loss.name=mylab/lp"])
    with pytest.raises(SpecError, match=r"\[matching.loss\] has no key `q`"):
        load_spec_or_sweep(path)


@pytest.mark.parametrize(
    ("code", "words"),
    [("lp = 3", "not callable"), ("def lp(student, target): return 1", "unexpected.*start")],
)
def test_function_that_cannot_be_called_is_an_error_before_an_expert_is_trained(
    code: str, words: str, install: Install, smoke: Path, tmp_path: Path
):
    install(parts=f"\n{code}\n")
    with pytest.raises(MachineError, match=words):
        ddspec.run(smoke, [LP, *SHORT], store=tmp_path / "store", runs=tmp_path / "runs")
    assert not list((tmp_path / "store").glob("**/*trajectory*"))
    assert not (tmp_path / "runs").exists()


def test_installed_extensions_are_listed(install: Install):
    install()
    assert "mylab/moments, for matching.objective" in (explain("mylab") or "")
    assert "mylab" in list_of_subjects()
    assert [(check.subject, check.passed) for check in extension_checks()] == [
        ("extension mylab", True)
    ]
    install(__init__="\nEXTENSION = 3\n")
    (check,) = extension_checks()
    assert not check.passed and "is not a ddspec.extensions.Extension" in check.detail


def test_tutorial_shows_the_files_of_the_example():
    page = (EXAMPLE.parents[1] / "docs" / "tutorials" / "add_a_loss.md").read_text()
    for path in [EXAMPLE / "pyproject.toml", *sorted(EXAMPLE.glob("mylab_parts/*.py"))]:
        assert f"\n{path.read_text()}```" in page, path.name


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True])
def test_example_is_a_package_that_pip_installs(editable: bool, tmp_path: Path, smoke: Path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "extension")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site"]
    subprocess.run([*pip, *(["-e"] if editable else []), folder], check=True)
    code = f"import site; site.addsitedir({str(tmp_path / 'site')!r})\n"
    code += "import runpy; runpy.run_module('ddspec', run_name='__main__')"
    command = [sys.executable, "-c", code, "check", smoke, "--set", LP]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The field's replay buffers: more than tensors, named by content, used by a spec like any experts."""

import json
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import ddspec
from ddspec.dsl.diagnostics import DataError, StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.step_maker import imported_preimage
from ddspec.dsl.plan.steps import member_preimage
from ddspec.engine.exchange.replay_buffers import import_buffers, import_note, in_order
from ddspec.engine.networks.flat_network import flat_network, flatten
from ddspec.engine.store.store import Store
from tests.in_slow_run import first_by_default

SPEC = Path(__file__).parents[2] / "smoke.toml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, dict]:
    """A run that trained its experts to the end, and where its store is."""
    folder = tmp_path_factory.mktemp("trained")
    compiled = ddspec.compile(
        ddspec.load(SPEC, ["matching.max_start_epoch=4"]), store=folder / "store"
    )
    run = ddspec.run(compiled, runs=folder / "runs")
    return folder / "store", {"plan": compiled.plan, "record": run.record}


@pytest.fixture
def buffers(trained, tmp_path: Path) -> list[Path]:
    """Its experts as the public code keeps them: two in one file, one in another."""
    store, made = trained
    step = made["plan"].step("experts")
    net = flat_network(step.recipe.network, made["plan"].step("dataset").facts)
    files = []
    for member in step.members:
        with Store(store).open("expert", member.digest) as file:
            rows = torch.from_numpy(file["theta"][()])
        files.append([list(net.tensors(row.clone()).values()) for row in rows])
    paths = [tmp_path / "replay_buffer_0.pt", tmp_path / "replay_buffer_1.pt"]
    torch.save(files[:2], paths[0])
    torch.save(files[2:], paths[1])
    return paths


def used(name: str, *more: str) -> list[str]:
    return [
        f"experts={{imported='{name}', count=3, epochs=4}}",
        "matching.max_start_epoch=4",
        *more,
    ]


@pytest.mark.slow
def test_imported_experts_give_the_bits_of_those_that_were_trained(trained, buffers, tmp_path):
    _, made = trained
    store = tmp_path / "store"
    imported = import_buffers(buffers, Store(store))
    assert (imported.count, imported.epochs) == (3, 4)
    compiled = ddspec.compile(ddspec.load(SPEC, used(imported.name)), store=store)
    record = ddspec.run(compiled, runs=tmp_path / "runs").record

    assert record.series.matching_loss == made["record"].series.matching_loss
    assert record.results.accuracy.values == made["record"].results.accuracy.values
    assert record.results.expert is None
    for expert, other in zip(record.experts, made["record"].experts, strict=True):
        assert expert.test_accuracy == expert.train_loss == ()
        assert expert.step_length == pytest.approx(other.step_length, rel=1e-5)
        assert expert.avg_var == pytest.approx(other.avg_var, rel=1e-5)
    assert any("imported" in note for note in record.notes)
    (step,) = [step for step in record.steps if step.kind == "experts"]
    assert step.status == "reused"


@pytest.mark.parametrize("trajectory", first_by_default(["convex", "bezier"]))
def test_trajectories_of_imported_experts_are_replaced(trajectory, buffers, tmp_path):
    store = tmp_path / "store"
    imported = import_buffers(buffers, Store(store))
    # Windows that begin just before the end reach no further, and so teach nothing.
    asked = used(imported.name, "matching.max_start_epoch=2", f"trajectory={trajectory}")
    loaded = ddspec.load(SPEC, asked)
    run = ddspec.run(ddspec.compile(loaded, store=store), runs=tmp_path / "runs")
    assert run.record.outcome.status == "done"
    assert "imported" in run.report.read_text()


def test_a_set_is_named_by_its_content_alone(buffers, tmp_path):
    names = {import_buffers(buffers, Store(tmp_path / str(i))).name for i in range(2)}
    copy = tmp_path / "other_name.pt"
    copy.write_bytes(buffers[1].read_bytes())
    names.add(import_buffers([buffers[0], copy], Store(tmp_path / "c")).name)
    assert len(names) == 1
    assert import_buffers([copy, buffers[0]], Store(tmp_path / "d")).name not in names


def test_numbered_files_give_one_name_in_any_order(tmp_path):
    paths = [tmp_path / f"replay_buffer_{number}.pt" for number in range(12)]
    for number, path in enumerate(paths):
        torch.save([snapshots(seed=number)], path)
    expected = import_buffers(paths, Store(tmp_path / "store"))
    by_shell = sorted(paths, key=str)
    assert by_shell != paths
    assert import_buffers(by_shell, Store(tmp_path / "store")) == expected
    assert in_order(by_shell) == paths
    preimage = imported_preimage(expected.name)
    with Store(tmp_path / "store").open("expert", digest(member_preimage(preimage, 2))) as file:
        assert np.array_equal(file["theta"][0], flatten(snapshots(seed=2)[0]).numpy())


def test_files_without_a_common_name_keep_their_order(tmp_path):
    for names in (
        ["b_1.pt", "a_2.pt", "b_0.pt"],
        ["x.pt", "a.pt"],
        ["two/b_1.pt", "two/b_10.pt", "one/b_0.pt"],
    ):
        paths = [tmp_path / name for name in names]
        assert in_order(paths) == paths
    mixed = [tmp_path / name for name in ("two/b_10.pt", "two/b_9.pt", "one/b_0.pt")]
    assert [path.name for path in in_order(mixed)] == ["b_9.pt", "b_10.pt", "b_0.pt"]


def test_broken_trajectories_are_left_out_if_asked(cli, tmp_path):
    trajectories = [snapshots(seed=number) for number in range(6)]
    good = trajectories[:2] + trajectories[4:]
    torch.save(good, tmp_path / "good.pt")
    trajectories[2][1][0][0, 0] = float("nan")
    trajectories[3] = [trajectories[3][0]] * 3
    path = tmp_path / "some_broken.pt"
    torch.save(trajectories, path)

    refused = cli("import", path)
    assert refused.returncode == 5
    assert "trajectory 2 holds numbers that are not finite" in refused.stderr
    assert "--skip-broken" in refused.stderr
    answer = cli("import", path, "--skip-broken", "--store", "store")
    assert answer.returncode == 0, answer.stderr
    assert "left out 2 of 6 trajectories" in answer.stderr
    assert "some_broken.pt: trajectory 2 holds numbers that are not finite" in answer.stderr
    assert "some_broken.pt: trajectory 3 has the same parameters" in answer.stderr
    assert "count = 4" in answer.stdout

    name = import_buffers([tmp_path / "good.pt"], Store(tmp_path / "other")).name
    assert name in answer.stdout
    noted = Store(tmp_path / "store").noted(import_note(name))
    assert [left["number"] for left in noted["left_out"]] == [2, 3]

    torch.save(trajectories[2:4], path)
    refused = cli("import", path, "--skip-broken")
    assert "all 2 trajectories are broken" in refused.stderr


def test_pairs_with_accuracies_and_tuples_are_the_same_set(tmp_path):
    trajectories = [snapshots(seed=number) for number in range(2)]
    names = set()
    for content in (
        trajectories,
        tuple(trajectories),
        [tuple(map(tuple, trajectory)) for trajectory in trajectories],
        [(trajectory, 0.5) for trajectory in trajectories],
        [(trajectory, torch.tensor(0.5)) for trajectory in trajectories],
        [[trajectory, [0.1, 0.2, 0.3]] for trajectory in trajectories],
        [[[t.double() for t in snapshot] for snapshot in t] for t in trajectories],
    ):
        torch.save(content, tmp_path / "buffer.pt")
        names.add(import_buffers([tmp_path / "buffer.pt"], Store(tmp_path / "store")).name)
    assert len(names) == 1


def test_buffer_of_public_code_on_a_cpu_is_refused_with_its_cause(tmp_path):
    """`p.detach().cpu()` copies nothing on a CPU, so all snapshots are one tensor."""
    network, timestamps = torch.nn.Linear(300, 100), []
    for epoch in range(4):
        with torch.no_grad():
            network.weight.fill_(epoch)
        timestamps.append([p.detach().cpu() for p in network.parameters()])
    path = tmp_path / "replay_buffer_0.pt"
    torch.save([timestamps], path)
    with pytest.raises(DataError, match="the field's code keeps one copy") as error:
        import_buffers([path], Store(tmp_path / "store"))
    assert "clone the parameters" in error.value.hint
    first = [p.detach().clone() for p in network.parameters()]
    torch.save([[first, *timestamps]], path)
    with pytest.raises(DataError, match="4 snapshots that are copies of others"):
        import_buffers([path], Store(tmp_path / "store"))


def test_set_given_as_a_buffer_is_refused_with_the_option_that_reads_it(cli, tmp_path):
    contents = {"images": torch.randn(10, 1, 8, 8), "labels": torch.randn(10, 10), "lr": 0.02}
    paths = []
    for name, content in contents.items():
        paths.append(tmp_path / f"{name}_best.pt")
        torch.save(torch.as_tensor(content), paths[-1])
        answer = cli("import", *paths[-1:])
        assert answer.returncode == 5
        assert "it is one tensor of shape" in answer.stderr
        assert "imported with --synthetic" in answer.stderr


def test_what_does_not_fit_a_spec_is_said_before_anything_runs(buffers, tmp_path):
    store = tmp_path / "store"
    imported = import_buffers(buffers, Store(store))
    absent = ddspec.load(SPEC, used("0" * 32))
    with pytest.raises(StoreError, match="are not in this store"):
        ddspec.compile(absent, store=store)
    for change, words in (
        ("experts.count=4", "has 3 experts, but the spec asks for 4"),
        ("experts.epochs=9", "has 4 epochs, but the spec asks for 9"),
        ("network.width=4", "parameters, but the network of the spec"),
    ):
        loaded = ddspec.load(SPEC, [*used(imported.name), change])
        with pytest.raises(StoreError, match=words):
            ddspec.compile(loaded, store=store)


def test_another_network_of_as_many_parameters_is_refused(buffers, tmp_path):
    turned = torch.load(buffers[0], weights_only=True)
    for trajectory in turned:
        for snapshot in trajectory:
            snapshot[0] = snapshot[0].permute(1, 0, 2, 3).contiguous()
    torch.save(turned, buffers[0])
    store = tmp_path / "store"
    imported = import_buffers(buffers[:1], Store(store))
    settings = f"experts={{imported='{imported.name}', count=2, epochs=4}}"
    with pytest.raises(StoreError, match="the imported experts have tensors"):
        ddspec.compile(ddspec.load(SPEC, [settings, "matching.max_start_epoch=4"]), store=store)


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


class Wicked:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def snapshots(count: int = 3, seed: int = 0) -> list[list[torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(4, 3, generator=draw), torch.randn(4, generator=draw)] for _ in range(count)
    ]


def test_strangers_files_are_refused_in_words_and_nothing_in_them_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "replay_buffer_0.pt"
    good = snapshots()
    huge = [[torch.zeros(1).expand(10**9)], [torch.ones(1).expand(10**9)]]
    wide = [[torch.zeros(1).expand(10**9)]] * 2
    nan = [*good[:2], [torch.full((4, 3), float("nan")), good[0][1]]]
    for content, words in (
        ([[Wicked()]], "more than tensors"),
        ({"a": 1}, "a dictionary, such as a state dict, not trajectories"),
        ([], "an empty list, not trajectories"),
        (0.5, "a value of type float"),
        (good, "it is one trajectory, not a list of them"),
        ([[]], "not a list of two or more snapshots"),
        ([good[:1]], "not a list of two or more snapshots"),
        ([[1, 2]], "a snapshot that is not a list of tensors"),
        ([wide], "holds numbers|copies|same parameters"),
        ([huge], "claims to be larger than the file"),
        ([[[torch.zeros(3, dtype=torch.int64)]] * 2], "that are not floating-point"),
        ([[[torch.zeros(3, device="meta")], [torch.ones(3, device="meta")]]], "floating-point"),
        ([[[nested()], [nested()]]], "floating-point|more than tensors"),
        ([[[torch.eye(3).to_sparse()], [torch.eye(3).to_sparse()]]], "floating-point"),
        ([[good[0], good[1][:1]]], "differ in shape"),
        ([nan], "not finite"),
        ([[good[0]] * 3], "trajectory 0 has the same parameters in all snapshots"),
        ([good, snapshots(4)], "the first one has 2"),
    ):
        torch.save(content, path)
        with pytest.raises(DataError, match=words):
            import_buffers([path], Store(tmp_path / "store"))
    for raw in (b"", b"\x80\x04.", pickle.dumps([Wicked()]), b"PK\x03\x04" + b"\x00" * 50):
        path.write_bytes(raw)
        with pytest.raises(DataError):
            import_buffers([path], Store(tmp_path / "store"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside", "x")
    with pytest.raises(DataError):
        import_buffers([path], Store(tmp_path / "store"))
    with pytest.raises(DataError, match="cannot be read"):
        import_buffers([tmp_path / "none.pt"], Store(tmp_path / "store"))
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_command_prints_what_a_spec_says_and_what_is_not_known(cli, buffers, tmp_path):
    answer = cli("import", *buffers)
    assert answer.returncode == 0, answer.stderr
    assert "[experts]\nimported = " in answer.stdout
    assert "how accurate they are" in answer.stderr
    name = answer.stdout.split('"')[1]
    settings = f"experts={{imported='{name}', count=3, epochs=4}}"
    planned = cli("plan", SPEC, "--set", settings, "--set", "matching.max_start_epoch=4", "--json")
    steps = {step["id"]: step for step in json.loads(planned.stdout)["steps"]}
    assert steps["experts"]["reused"]
    assert cli("import", tmp_path / "none.pt").returncode == 5
    assert np.isfinite(steps["distill"]["estimate"]["seconds"])

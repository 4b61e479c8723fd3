"""Classifiers of torchvision and timm as judges: untrained, fitted to small images, repeatable."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ddspec
from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.spec.network import LibraryNetwork
from ddspec.engine.networks.classifiers import (
    build_library_network,
    convolutions,
    fit_library_network,
)
from ddspec.engine.networks.flat_network import flat_network, initial_parameters

HAS_TIMM = importlib.util.find_spec("timm") is not None
needs_timm = pytest.mark.skipif(not HAS_TIMM, reason="timm is not installed")
DIGITS = known_facts(Dataset(name="digits"))
CIFAR = known_facts(Dataset(name="cifar10"))
SMOKE = Path(__file__).parents[2] / "smoke.toml"


def fitted(name: str, facts: DatasetFacts):
    return fit_library_network(LibraryNetwork(name=name), facts)


def test_resnet_has_the_stem_that_the_field_gives_it_on_cifar():
    found = fitted("torchvision/resnet18", CIFAR)
    assert (found.network.small_stem, found.network.input_side) == (True, 0)
    net = build_library_network(found.network, 3, 10)
    first = net.get_submodule(next(convolutions(net)))
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(net.classifier.maxpool, nn.Identity)
    # As counted for this network on 32x32 images everywhere: 0.56 billion, 11.17 million.
    assert found.size.multiply_adds == pytest.approx(0.5559e9, rel=1e-3)
    assert found.size.parameters == sum(p.numel() for p in net.parameters()) == 11_173_962


def test_images_are_enlarged_to_the_least_side_that_a_network_takes():
    found = fitted("torchvision/vit_b_16", DIGITS)
    assert (found.network.small_stem, found.network.input_side) == (False, 224)
    assert found.network.fitting == "images enlarged to 224x224"


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision/alexnet", "torchvision/googlenet", "torchvision/regnet_y_400mf"),
        "torchvision/shufflenet_v2_x0_5",
        pytest.param("timm/mobilenetv3_small_050", marks=needs_timm),
        pytest.param("timm/convnext_atto.d2_in1k", marks=needs_timm),
    ],
)
def test_every_kind_takes_images_and_gives_logits_of_the_classes(name):
    facts = DIGITS
    form = fitted(name, facts).network
    flat = flat_network(form, facts)
    theta = initial_parameters(form, facts, 0, "x")
    trainee = flat.in_training(torch.device("cpu"))
    images = torch.randn(3, facts.channels, facts.height, facts.width)
    assert trainee.learning(theta, images).shape == (3, 10)
    tested = trainee.tested(theta, images)
    assert torch.equal(tested, trainee.tested(theta, images))
    assert tested.isfinite().all()
    assert torch.equal(theta, initial_parameters(form, facts, 0, "x"))


def test_unknown_model_is_refused_with_similar_ones():
    with pytest.raises(MachineError, match="no classifier named 'resnet19'") as refused:
        fitted("torchvision/resnet19", CIFAR)
    assert "resnet18" in refused.value.hint
    with pytest.raises(MachineError, match="no classifier named"):
        fitted("torchvision/fasterrcnn_resnet50_fpn", CIFAR)


def test_without_timm_the_error_names_the_extra(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "timm" else real(name, *rest),
    )
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(MachineError, match="needs timm, which is not installed") as refused:
        fitted("timm/resnet18", CIFAR)
    assert 'pip install "ddspec[timm]"' in refused.value.hint


JUDGES = ["convnet_w16", "torchvision/shufflenet_v2_x0_5", "torchvision/squeezenet1_1"]


def judged(folder: Path, names: list[str]) -> ddspec.Run:
    options = (
        f"evaluation.networks={names}".replace("'", '"'),
        "matching.iterations=0",
        "evaluation.epochs=2",
        "evaluation.baselines=[]",
    )
    compiled = ddspec.compile(ddspec.load(SMOKE, options), store=folder / "store")
    return ddspec.run(compiled, runs=folder / "runs")


@pytest.mark.slow
def test_judges_give_the_same_bits_again_and_are_described_on_the_page(tmp_path):
    names = JUDGES + (["timm/mobilenetv3_small_050", "timm/lcnet_035"] if HAS_TIMM else [])
    first, second = (judged(tmp_path / part, names) for part in ("first", "second"))
    accuracies = first.record.results.per_network
    assert set(accuracies) == set(names)
    assert {name: a.values for name, a in accuracies.items()} == {
        name: a.values for name, a in second.record.results.per_network.items()
    }
    page = (first.folder / "report.html").read_text()
    assert "torchvision/shufflenet_v2_x0_5 begins untrained" in page
    assert "first convolution 3x3 with stride 1" in page
    findings = list(ddspec.verify(first.folder, store=tmp_path / "first" / "store", evaluate=False))
    assert not [finding for finding in findings if finding.verdict == "fault"]


def test_variant_of_the_convnet_is_one_of_that_size(tmp_path):
    record = judged(tmp_path, ["convnet", "convnet_d2_w4"]).record
    step = record.plan.step("evaluate-convnet_d2_w4")
    assert (step.network.depth, step.network.width) == (2, 4)


def test_variant_deeper_than_the_images_is_refused():
    loaded = ddspec.load(SMOKE, ['evaluation.networks=["convnet", "convnet_d2"]'])
    assert loaded.spec.evaluation.networks[1] == "convnet_d2"
    with pytest.raises(ddspec.SpecError, match="5 blocks halve an image of 8x8"):
        ddspec.load(SMOKE, ['evaluation.networks=["convnet", "convnet_d5"]'])

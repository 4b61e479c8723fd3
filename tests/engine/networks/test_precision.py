"""compute.precision: what networks multiply in, and nothing else."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.spec.network import ConvNet
from ddspec.engine.matching.student_optimisers import HeavyBall, StudentState
from ddspec.engine.matching.unroll import InnerLoss, Student, StudentDescent, adjoint, unroll
from ddspec.engine.networks.flat_network import flat_network, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.tasks.perform import allow_tf32, refuse_missing_tf32

NET = ConvNet(depth=2, width=8)
CPU = torch.device("cpu")


@pytest.fixture
def setting(digits_facts):
    theta = initial_parameters(NET, digits_facts, 0, "test")
    images = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return digits_facts, theta, images


def loss_of(net):
    student = Student(lambda theta, *given: F.cross_entropy(net(theta, given[0]), given[1]))
    return InnerLoss(student, lambda step, learned: (learned[0], torch.arange(10)))


def test_bfloat16_rounds_products_and_leaves_the_rest_float32(setting):
    facts, theta, images = setting
    exact, rough = (flat_network(NET, facts, name) for name in ("float32", "bfloat16"))
    apart = (exact(theta, images) - rough(theta, images)).abs().max()
    assert 1e-4 < apart < 0.1
    assert rough(theta, images).dtype == torch.float32
    assert rough.features(theta, images).dtype == torch.float32
    gradient, _ = loss_of(rough).student.gradient(theta, images, torch.arange(10))
    assert gradient.dtype == torch.float32


def test_the_outer_gradient_in_bfloat16_points_the_same_way(setting):
    facts, theta, images = setting
    gradients = []
    for name in ("float32", "bfloat16"):
        loss = loss_of(flat_network(NET, facts, name))
        unrolled = unroll(
            loss, StudentState(theta), [images], StudentDescent(HeavyBall(torch.tensor(0.1)), 3)
        )
        (by_images,), _ = adjoint(loss, unrolled, [images], {3: unrolled.path[3] - theta - 0.01})
        gradients.append(by_images.flatten())
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    assert not torch.equal(*gradients)


def test_networks_trained_together_have_the_precision_too(setting):
    facts, theta, images = setting
    logits = [
        StackedNetworks(flat_network(NET, facts, name), NET)(
            torch.stack([theta] * 2), images[None].repeat(2, 1, 1, 1, 1)
        )
        for name in ("float32", "bfloat16")
    ]
    assert logits[1].dtype == torch.float32
    assert 1e-4 < (logits[0] - logits[1]).abs().max() < 0.1


def test_tf32_is_refused_where_there_is_none():
    with pytest.raises(MachineError, match="no tf32"):
        refuse_missing_tf32(CPU)


def test_older_torch_is_told_by_its_own_switches(monkeypatch):
    matmul, cudnn = SimpleNamespace(allow_tf32=None), SimpleNamespace(allow_tf32=None)
    older = SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=cudnn)
    monkeypatch.setattr(torch, "backends", older)
    for allowed in (True, False):
        allow_tf32(allowed)
        assert matmul.allow_tf32 is cudnn.allow_tf32 is allowed


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="needs torch 2.9")
def test_float32_products_are_not_rounded_whatever_all_backends_are_told(monkeypatch):
    backends = torch.backends
    monkeypatch.setattr(backends, "fp32_precision", backends.fp32_precision)
    for allowed, precision in ((True, "tf32"), (False, "ieee")):
        allow_tf32(allowed)
        backends.fp32_precision = "tf32"
        assert backends.cuda.matmul.fp32_precision == precision
        assert backends.cudnn.conv.fp32_precision == precision

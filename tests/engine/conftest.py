"""Tiny problems with known answers, in float64."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import load_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.control import Control
from ddspec.engine.images.real_data import load_data
from ddspec.engine.images.sources.ingest import dataset_facts
from ddspec.engine.networks.flat_network import FlatNetwork, flat_network_of, flatten
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.store import Store


@dataclass(frozen=True)
class Problem:
    """A small network in float64, eight images of 4x4 pixels, and their labels."""

    module: nn.Module
    """The network with parameters of its own; `net` and `start` are the same in flat form."""
    net: FlatNetwork
    start: Tensor
    images: Tensor
    labels: Tensor


def small_module() -> nn.Module:
    """A smooth ConvNet block: derivatives of every order exist."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.GroupNorm(3, 3),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()


@pytest.fixture
def problem() -> Problem:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = small_module()
        start = flatten(list(module.parameters()))
        images = torch.randn(6, 1, 4, 4, dtype=torch.float64)
        skeleton = small_module()
    return Problem(
        module, flat_network_of(skeleton), start, images, torch.tensor([0, 0, 1, 1, 2, 2])
    )


@pytest.fixture(scope="session")
def digits_store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("digits"))
    return store, dataset_facts(Dataset(name="digits"), store.root, store)


@pytest.fixture
def context(digits_store, smoke, tmp_path):
    source, facts = digits_store
    step = compile_spec(load_spec(smoke).spec, facts, Machine("cpu", 2)).step("dataset")
    data = load_data(step, source, torch.device("cpu"))
    torch.set_num_threads(1)
    return StageContext(facts, data, Store(tmp_path), Control())


@pytest.fixture
def plan(smoke, context):
    def make(*overrides):
        return compile_spec(load_spec(smoke, overrides).spec, context.facts, Machine("cpu", 2))

    return make

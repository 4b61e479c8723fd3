"""Networks and functions of libraries and extensions that a spec names."""

from ddspec.dsl.facts.datasets import DatasetFacts, prepared
from ddspec.dsl.facts.network_sizes import FittedNetwork
from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.parsing.extension_parts import installed_network, named_parts
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import LibraryNetwork, network_of
from ddspec.dsl.terms import NetworkName


def networks_of_others(spec: Spec, facts: DatasetFacts) -> dict[NetworkName, FittedNetwork]:
    """Return the networks of libraries and extensions that a spec names, fitted to its images.

    Raises MachineError if a package or a network is missing, or takes no such images.
    """
    names = dict.fromkeys((spec.network.name, *spec.evaluation.networks))
    named = {name: network_of(name, spec.network) for name in names}
    seen = prepared(facts, spec.dataset)
    fitted: dict[NetworkName, FittedNetwork] = {}
    for name, net in named.items():
        if isinstance(net, LibraryNetwork):
            from ddspec.engine.networks.classifiers import fit_library_network

            fitted[name] = fit_library_network(net, seen)
        elif isinstance(net, ExtensionNetwork):
            from ddspec.engine.networks.extension_network import fit_extension_network

            trained = net is spec.network and bool(spec.matching.iterations or spec.expert_numbers)
            fitted[name] = fit_extension_network(installed_network(net), seen, trained=trained)
    return fitted


def check_functions(spec: Spec) -> None:
    """Raise MachineError if a function of an extension is missing or takes other arguments.

    Without this a loss would fail only after the experts are trained.
    """
    for named in named_parts(spec):
        from ddspec.engine.numerics.extension_code import check_function

        check_function(named.kind, named.part)

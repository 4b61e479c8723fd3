"""The speed of this machine: measured once in about two seconds, then kept in the store.

It affects estimates and what a preview shrinks; no digest, and no number of a run.
"""

from dataclasses import replace
from importlib.metadata import version

from pydantic import ValidationError

from ddspec.dsl.digest import digest
from ddspec.dsl.facts.machine import Machine, Rates
from ddspec.engine.machine.environment import gpu_name, processor_name
from ddspec.engine.store.store import Store

METHOD = 3
"""Version of the measurement of rates; a new one makes every store measure again."""


def with_rates(machine: Machine, store: Store) -> Machine:
    """Return the machine with its measured rates, from the store or newly measured."""
    note = f"rates-{digest(machine_identity(machine))}"
    try:
        return replace(machine, rates=Rates.model_validate(store.noted(note)))
    except ValidationError:
        from ddspec.engine.machine.speed_probe import measure_rates

        rates = measure_rates(machine.device, machine.cores)
    store.note_if_writable(note, rates.model_dump(mode="json"))
    return replace(machine, rates=rates)


def machine_identity(machine: Machine) -> dict[str, str | int]:
    """Return everything that a machine's rates depend on."""
    name = gpu_name() if machine.device == "cuda" else processor_name()
    return {"method": METHOD, "device": name, "cores": machine.cores, "torch": version("torch")}

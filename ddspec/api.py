"""The public functions: load a spec, compile it to a plan, run it.

The one place that links language, engine and reports. torch is imported when a plan is made or
run, not when a spec is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import tomli_w
from pydantic import ValidationError

from ddspec.dsl.diagnostics import DataMissing
from ddspec.dsl.facts.datasets import known_facts
from ddspec.dsl.parsing.loader import LoadedSpec, checked, load_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.preview import begun, shrunk
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.deviations import deviations
from ddspec.dsl.record.record import Record, Series
from ddspec.dsl.spec.experiment import resolved
from ddspec.dsl.terms import Device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ddspec.engine.control import Control
    from ddspec.engine.exchange.synthetic_file import SyntheticTensors

DEFAULT_STORE = Path(".ddspec/store")
DEFAULT_RUNS = Path("runs")
DEFAULT_REPRODUCTIONS = Path("reproductions")
NO_FINGERPRINT = "unread"


class CompileOptions(TypedDict, total=False):
    """Keyword arguments of `compile`, for those who hand them on."""

    data: Path | None
    store: Path
    device: Device | None
    fetch: bool
    preview: bool
    without_data: bool


@dataclass(frozen=True)
class CompiledSpec:
    """A plan with the spec that it was made from and the store that it was made with."""

    loaded: LoadedSpec
    plan: Plan
    store: Path
    unread: str = ""
    """Why the images were not read, if they were not: then no digest of the plan means anything."""


@dataclass(frozen=True)
class Run:
    """A run that ended: its folder, its record, its report."""

    folder: Path
    record: Record

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / "report.html"

    @property
    def series(self) -> "dict[str, NDArray[np.float64]]":
        """What the outer loop did, a number per iteration, by the names of the record."""
        import numpy as np

        series = self.record.series
        return {name: np.array(getattr(series, name), dtype=float) for name in Series.model_fields}

    def accuracies(self, network: str | None = None) -> "dict[int, NDArray[np.float64]]":
        """Test accuracy of every fresh network in percent, by the iteration of its set.

        Of the first network that is evaluated, unless another is named.
        """
        import numpy as np

        evaluated = [one for one in self.record.evaluations if one.subject == "distilled"]
        wanted = network or (evaluated[0].network if evaluated else "")
        return {one.iteration: np.array(one.values) for one in evaluated if one.network == wanted}

    def synthetic(self) -> "SyntheticTensors":
        """The chosen synthetic set, ready for a training loop.

        Raises RecordError where synthetic.h5 is missing or damaged.
        """
        from ddspec.engine.exchange.synthetic_file import synthetic_tensors

        return synthetic_tensors(self.folder, self.record)


def open_run(folder: str | PathLike[str]) -> Run:
    """A run that was done before, from its folder. Raises RecordError where it is damaged."""
    from ddspec.reports.pages.run import read_record

    return Run(Path(folder), read_record(Path(folder)))


def load(path: str | PathLike[str], overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read and check a spec; `overrides` are `table.key=value`.

    Raises SpecError, which carries every finding.
    """
    return load_spec(Path(path), overrides)


def compile(
    loaded: LoadedSpec,
    *,
    data: Path | None = None,
    store: Path = DEFAULT_STORE,
    device: Device | None = None,
    fetch: bool = True,
    preview: bool = False,
    without_data: bool = False,
) -> CompiledSpec:
    """Read the images (once; the store keeps them) and make the plan.

    With `fetch`, images that are missing are downloaded where a network allows. With `preview`, the
    spec is shrunk until it ends within minutes on this machine. With `without_data`, images that
    are missing are taken to be what is known of their dataset, for a plan to look at.

    Raises DataError where images are missing or unfit, SpecError where the spec does not fit
    them, MachineError where a device is asked for that is not there.
    """
    from ddspec.engine.images.find_images import data_folder
    from ddspec.engine.images.ingest import dataset_facts
    from ddspec.engine.machine.environment import this_machine
    from ddspec.engine.store.store import Store

    kept = Store(store)
    machine = this_machine(device)
    known, unread = known_facts(loaded.spec.dataset), ""
    try:
        facts = dataset_facts(loaded.spec.dataset, data_folder(data), kept, fetch)
    except DataMissing as error:
        if not without_data or known is None:
            raise
        facts, unread = known.model_copy(update={"fingerprint": NO_FINGERPRINT}), str(error)
    first = begun(loaded.spec, facts) if preview else loaded.spec
    found = checked(replace(loaded, spec=first), facts)
    from ddspec.engine.machine.speed import with_rates

    machine = with_rates(machine, kept)
    if preview:
        found = checked(replace(loaded, spec=shrunk(loaded.spec, facts, machine)), facts)
    plan = compile_spec(found.spec, facts, machine)
    if found.spec.experts.imported is not None:
        from ddspec.engine.exchange.replay_buffers import check_imported

        check_imported(plan, kept)
    return CompiledSpec(found, plan, store, unread)


def run(
    compiled: CompiledSpec,
    *,
    runs: Path = DEFAULT_RUNS,
    control: "Control | None" = None,
    retry: bool = False,
) -> Run:
    """Do what the plan asks for and the store does not hold; write run folder and report.

    A run that was stopped goes on where it was, on the route that it began with. After a signal
    raises Interrupted, and after a fault of the machine what that was; the record says so, and
    everything done so far is in the store.
    """
    from ddspec.engine.control import Control
    from ddspec.engine.run.run import Origin, run_plan
    from ddspec.engine.store.store import Store, write_text
    from ddspec.reports.pages.run import render_run

    if compiled.unread:
        raise DataMissing(compiled.unread)
    loaded = compiled.loaded
    folder = runs / compiled.plan.folder
    plan = with_routes_of(folder, compiled.plan)
    origin = Origin(
        spec=loaded.source.text,
        swept=any(override.place is not None for override in loaded.overrides),
        overrides=tuple(override.option for override in loaded.overrides),
        resolved=resolved_toml(loaded),
        expect=loaded.spec.expect,
        deviations=deviations(loaded.spec),
    )
    write_text(folder / "spec.toml", origin.spec)
    write_text(folder / "resolved.toml", origin.resolved)
    write_text(folder / "plan.json", plan.model_dump_json(indent=1))
    store = Store(compiled.store)
    record, error = run_plan(plan, origin, store, folder, control or Control(), retry)
    write_text(folder / "record.json", record.model_dump_json(indent=1))
    render_run(folder)
    if error is not None:
        raise error
    return Run(folder, record)


def resolved_toml(loaded: LoadedSpec) -> str:
    """The spec with every default and override written out."""
    text: str = tomli_w.dumps(dict(resolved(loaded.spec)))
    return text


def with_routes_of(folder: Path, plan: Plan) -> Plan:
    """The plan on the routes that a run in this folder began with, where its device is here."""
    try:
        begun = Plan.model_validate_json((folder / "plan.json").read_bytes())
    except (OSError, ValidationError):
        return plan
    return on_routes_of(plan, begun)


def on_routes_of(plan: Plan, begun: Plan) -> Plan:
    """The plan on the routes of the same plan elsewhere, where its device is the one here."""
    ways = {step.id: {"route": step.route, "processes": step.processes} for step in begun.steps}
    if begun.digest != plan.digest or begun.steps[0].route.device != plan.steps[0].route.device:
        return plan
    steps = [step.model_copy(update=ways[step.id]) for step in plan.steps]
    return plan.model_copy(update={"steps": tuple(steps)})

"""The public functions: load a spec, compile it to a plan, run the plan.

This module joins the language, the engine and the reports. It imports torch when a plan
is compiled or run, not when a spec is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import tomli_w
from pydantic import ValidationError

from ddspec.dsl.diagnostics import DataMissing
from ddspec.dsl.facts.assumed_devices import PEAKS, assumed_machine
from ddspec.dsl.facts.datasets import known_facts
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.parsing.departures import departures
from ddspec.dsl.parsing.loader import LoadedSpec, check_across_keys
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.preview import preview_draft, preview_of
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.deviations import Departure, deviations
from ddspec.dsl.record.file_names import (
    PLAN_JSON,
    RECORD_JSON,
    REPORT_HTML,
    RESOLVED_TOML,
    SPEC_TOML,
)
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.series import Series
from ddspec.dsl.regular_file import read_regular_file
from ddspec.dsl.spec.experiment import resolved
from ddspec.dsl.spec.synthetic import Imported
from ddspec.dsl.terms import AssumedDevice, Device
from ddspec.foreign_code import check_functions, networks_of_others
from ddspec.functions.loading import AnyPath, Overrides, SpecSource, load
from ddspec.functions.progress import ProgressOption, control_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ddspec.engine.control import Control
    from ddspec.engine.exchange.synthetic_file import SyntheticSet
    from ddspec.engine.run.status import StepState

DEFAULT_STORE = Path(".ddspec/store")
DEFAULT_RUNS = Path("runs")
DEFAULT_REPRODUCTIONS = Path("reproductions")
UNKNOWN_FINGERPRINT = "unread"


class CompileOptions(TypedDict, total=False):
    """Keyword arguments of `compile`, for callers that pass them on."""

    data: AnyPath | None
    store: AnyPath
    device: Device | None
    assume: AssumedDevice | None
    fetch: bool
    preview: bool
    without_data: bool


@dataclass(frozen=True)
class CompiledSpec:
    """A plan with the spec and the store that it was compiled from."""

    loaded: LoadedSpec
    plan: Plan
    store: Path
    unread: str = ""
    """Why the images could not be read; empty if they were. The digests of a plan
    without images are meaningless."""
    reading: DataReading = field(default_factory=DataReading)
    """From where the images were read, and which files were passed over."""
    assumed: AssumedDevice | None = None
    """The GPU that the plan assumes; such a plan can be shown but not run."""

    def __repr__(self) -> str:
        return f"<CompiledSpec {self.plan.folder}: {len(self.plan.steps)} steps, {self.store}>"

    def _repr_html_(self) -> str:
        return self.plan._repr_html_()


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its record and its report."""

    folder: Path
    record: Record
    repeated: bool = False
    """Whether an earlier call had finished this run already, so that nothing was computed."""

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.record.headline}>"

    def _repr_html_(self) -> str:
        from ddspec.functions.pictures import picture_html

        return f"{picture_html(self.folder, self.record)}\n{self.record._repr_html_()}"

    @property
    def report(self) -> Path:
        """Path of the HTML report."""
        return self.folder / REPORT_HTML

    @property
    def series(self) -> "dict[str, NDArray[np.float64]]":
        """Series of the outer loop by name, each of shape (iterations,).

        The names are the fields of `Record.series`, for example `matching_loss`.
        """
        import numpy as np

        series = self.record.series
        return {name: np.array(getattr(series, name), dtype=float) for name in Series.model_fields}

    def accuracies(self, network: str | None = None) -> "dict[int, NDArray[np.float64]]":
        """Return the test accuracies of the distilled set in percent, by iteration.

        Each array has one entry per fresh network. `network` is the architecture that
        was evaluated; by default the first one in the record.
        """
        import numpy as np

        evaluations = [e for e in self.record.evaluations if e.subject == "distilled"]
        wanted = network or (evaluations[0].network if evaluations else "")
        return {e.iteration: np.array(e.values) for e in evaluations if e.network == wanted}

    def synthetic(self) -> "SyntheticSet":
        """Return the chosen synthetic set as tensors, ready for a training loop.

        Raises RecordError if synthetic.h5 is missing or damaged.
        """
        from ddspec.engine.exchange.synthetic_file import read_synthetic_set

        return read_synthetic_set(self.folder, self.record)


def open_run(folder: str | PathLike[str]) -> Run:
    """Return an earlier run from its folder.

    Raises RecordError if its record is missing or damaged.
    """
    from ddspec.reports.pages.run import read_record

    return Run(Path(folder), read_record(Path(folder)))


def compile(
    spec: LoadedSpec | SpecSource,
    overrides: Overrides = (),
    *,
    data: AnyPath | None = None,
    store: AnyPath = DEFAULT_STORE,
    device: Device | None = None,
    assume: AssumedDevice | None = None,
    fetch: bool = True,
    preview: bool = False,
    without_data: bool = False,
    check_imports: bool = True,
) -> CompiledSpec:
    """Read the images and compile the spec to a plan.

    `spec` is what `load` returns, or what it takes; `overrides` are those of `load`.
    With `assume`, routes and costs are those of a GPU that need not be here, by published peak
    figures; such a plan can be shown but not run. Images are read once; afterwards the store
    has them. With `fetch`, missing images
    are downloaded if the network allows it. With `preview`, the spec is shrunk until it
    ends within minutes on this machine. With `without_data`, the known facts of the
    dataset stand in for missing images; such a plan can be shown but not run. Without
    `check_imports`, imported experts and sets may be missing.

    Raises DataError if images are missing or unfit, SpecError if the spec does not fit
    the images, MachineError if the requested device is not available, and ValueError if
    `assume` is given with the device "cpu".
    """
    from ddspec.engine.images.sources.find_images import data_folder
    from ddspec.engine.images.sources.ingest import read_dataset
    from ddspec.engine.machine.environment import this_machine
    from ddspec.engine.machine.speed import with_rates
    from ddspec.engine.store.store import Store

    loaded = loaded_of(spec, overrides)
    artifacts, folder = Store(Path(store)), None if data is None else Path(data)
    if assume is not None and device == "cpu":
        raise ValueError(f"assume is {assume}, which is not a CPU: leave device out")
    machine = this_machine(device) if assume is None else assumed_machine(assume)
    published_facts, unread, reading = known_facts(loaded.spec.dataset), "", DataReading()
    try:
        dataset = read_dataset(loaded.spec.dataset, data_folder(folder), artifacts, fetch)
        facts, reading = dataset.facts, dataset.reading
    except DataMissing as error:
        if not without_data or published_facts is None:
            raise
        facts = published_facts.model_copy(update={"fingerprint": UNKNOWN_FINGERPRINT})
        unread = str(error)
    measured = networks_of_others(loaded.spec, facts)
    draft = preview_draft(loaded.spec, facts) if preview else loaded.spec
    fitted = check_across_keys(replace(loaded, spec=draft), facts)
    if assume is None:
        machine = with_rates(machine, artifacts)
    if preview:
        fitted = check_across_keys(
            replace(loaded, spec=preview_of(loaded.spec, facts, machine, measured)), facts
        )
    plan = compile_spec(fitted.spec, facts, machine, measured)
    if check_imports and fitted.spec.experts.imported is not None:
        from ddspec.engine.exchange.replay_buffers import check_imported

        check_imported(plan, artifacts)
    if check_imports and isinstance(fitted.spec.synthetic.init, Imported):
        from ddspec.engine.store.imported_set import check_imported_set

        check_imported_set(plan, artifacts)
    return CompiledSpec(fitted, plan, Path(store), unread, reading, assume)


def run(
    spec: CompiledSpec | LoadedSpec | SpecSource,
    overrides: Overrides = (),
    *,
    runs: AnyPath = DEFAULT_RUNS,
    retry: bool = False,
    on_progress: ProgressOption = "text",
    save_every: float | None = None,
    control: "Control | None" = None,
    **options: Unpack[CompileOptions],
) -> Run:
    """Compute what the store lacks, then write the run folder and the report.

    `spec` is what `compile` or `load` returns, or what `load` takes. `overrides` and `options`
    are those of `compile`; a compiled spec takes neither.

    If an earlier call finished this run and nothing has changed since, nothing is written.
    A run that was stopped continues where it was, on the routes it began with. With
    `retry`, a step that diverged before is computed again.

    `on_progress` is called with each report of a step, a `Progress`; by default, lines are
    written to stderr, and with None nothing is. An exception in it ends the run. A checkpoint
    is written every `save_every` seconds, by default 30. A `control` replaces both.

    Raises Interrupted after a signal, DataMissing if the plan was compiled without
    images, MachineError if a step does not fit this machine's memory, and lets errors of
    the machine rise. In the first and the last case the record says so, and the store has
    everything computed so far.
    """
    compiled = compiled_of(spec, overrides, options)
    if control is None:
        control = control_of(on_progress, save_every)
    return run_compiled(compiled, Path(runs), control, retry)


def compiled_of(
    spec: CompiledSpec | LoadedSpec | SpecSource, overrides: Overrides, options: CompileOptions
) -> CompiledSpec:
    """Return the compiled spec; compile it if needed. Raises ValueError for late options."""
    if not isinstance(spec, CompiledSpec):
        return compile(spec, overrides, **options)
    if overrides or options:
        named = ", ".join(["overrides"] * bool(overrides) + list(options))
        raise ValueError(f"the spec is compiled already: give {named} to ddspec.compile")
    return spec


def loaded_of(spec: LoadedSpec | SpecSource, overrides: Overrides) -> LoadedSpec:
    """Return the loaded spec; load it if needed. Raises ValueError for late overrides."""
    if not isinstance(spec, LoadedSpec):
        return load(spec, overrides)
    if overrides:
        raise ValueError("the spec is loaded already: give overrides to ddspec.load")
    return spec


def run_compiled(compiled: CompiledSpec, runs: Path, control: "Control", retry: bool) -> Run:
    """Compute what the store lacks, then write the run folder and the report; see `run`."""
    from ddspec.dsl.atomic_write import write_text
    from ddspec.engine.run.run import SpecOrigin, earlier_record, is_finished, run_plan
    from ddspec.engine.run.status import step_states
    from ddspec.engine.store.store import Store
    from ddspec.reports.pages.run import render_run

    if compiled.assumed is not None:
        raise ValueError(f"the plan assumes {PEAKS[compiled.assumed].name}: compile without assume")
    if compiled.unread:
        raise DataMissing(compiled.unread)
    loaded = compiled.loaded
    folder = runs / compiled.plan.folder
    plan = resume_routes(folder, compiled.plan)
    origin = SpecOrigin(
        spec=loaded.source.text,
        swept=any(override.value_path is not None for override in loaded.overrides),
        overrides=tuple(override.option for override in loaded.overrides),
        resolved=resolved_toml(loaded),
        expect=loaded.spec.expect,
        deviations=deviations(loaded.spec),
        departures=() if plan.preview else departures_of(loaded),
        reading=compiled.reading,
    )
    store, earlier = Store(compiled.store), earlier_record(folder, plan)
    if earlier is not None and is_finished(earlier, plan, origin, store, folder):
        return Run(folder, earlier, repeated=True)
    states = step_states(plan, store)
    check_fits(states)
    if any(state.missing for state in states):
        check_functions(loaded.spec)
    write_text(folder / SPEC_TOML, origin.spec)
    write_text(folder / RESOLVED_TOML, origin.resolved)
    write_text(folder / PLAN_JSON, plan.model_dump_json(indent=1))
    record, error = run_plan(plan, origin, store, folder, control, retry)
    write_text(folder / RECORD_JSON, record.model_dump_json(indent=1))
    render_run(folder)
    if error is not None:
        raise error
    repeated = earlier is not None and record.sittings == earlier.sittings
    return Run(folder, record, repeated)


def departures_of(loaded: LoadedSpec) -> tuple[Departure, ...]:
    """Return the settings that options change in a spec of published numbers."""
    return tuple(
        Departure(key=setting.key, value=setting.value, in_spec=setting.in_file)
        for setting in departures(loaded)
    )


def check_fits(states: "Sequence[StepState]", assumed: AssumedDevice | None = None) -> None:
    """Raise MachineError if a step that is not complete needs far more memory than there is.

    `states` are those of all steps of a plan, `assumed` the GPU that it assumes.
    """
    from ddspec.engine.run.memory_check import check_memory

    gpu_memory = 0
    if assumed is not None:
        gpu_memory = PEAKS[assumed].memory
    elif states[0].step.route.device == "cuda":
        import torch

        from ddspec.engine.machine.memory import total_memory

        gpu_memory = total_memory(torch.device("cuda"))
    check_memory(states, gpu_memory, on_this_machine=assumed is None)


def resolved_toml(loaded: LoadedSpec) -> str:
    """Return the spec as TOML with every default and override written out."""
    text: str = tomli_w.dumps(dict(resolved(loaded.spec)))
    return text


def resume_routes(folder: Path, plan: Plan) -> Plan:
    """Return the plan with the routes of the run that was begun in this folder, if any.

    A resumed run thus ends with the bytes of a run that was never stopped.
    """
    try:
        earlier = Plan.model_validate_json(read_regular_file(folder / PLAN_JSON))
    except (OSError, ValidationError):
        return plan
    return copy_routes(plan, earlier)


def copy_routes(plan: Plan, earlier: Plan) -> Plan:
    """Return the plan with the routes of an earlier one.

    The plan keeps its own routes if the two have different digests or devices.
    """
    same_device = earlier.steps[0].route.device == plan.steps[0].route.device
    if earlier.digest != plan.digest or not same_device:
        return plan
    routes = {step.id: {"route": step.route, "processes": step.processes} for step in earlier.steps}
    steps = [step.model_copy(update=routes[step.id]) for step in plan.steps]
    return plan.model_copy(update={"steps": tuple(steps)})

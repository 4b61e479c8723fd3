"""Agreement of two records of one plan: bitwise if nothing may differ, or else by a test."""

from collections.abc import Iterable, Iterator, Sequence

from ddspec.dsl.plan.steps import EvaluateStep
from ddspec.dsl.record.record import (
    SUBJECT_WORDS,
    Accuracy,
    Compared,
    Environment,
    Record,
    StepRecord,
)
from ddspec.dsl.record.reproduction import Measured, Reproduced, Verdict
from ddspec.dsl.record.series import SERIES_WORDS, Series, unused_series
from ddspec.dsl.record.statistics import REPRODUCTION_LEVEL, welch
from ddspec.dsl.record.synthetic_set import ClassLosses, SoftLabels
from ddspec.dsl.spec.evaluation import Expectation

NUMERIC_PACKAGES = ("torch", "numpy", "scikit-learn")


def reasons_bits_may_differ(record: Record, repeated: Record) -> Iterator[str]:
    """Yield the reasons why bits may differ: the conditions that are not the same."""
    yield from differing_conditions(record, repeated.environment, repeated.steps)
    mixed = [step.id for step in repeated.steps if step.mixed_routes]
    yield from (f"step {id} used artifacts that were made on another route" for id in mixed)


def differing_conditions(
    record: Record, current: Environment, steps: Sequence[StepRecord | EvaluateStep]
) -> Iterator[str]:
    """Yield the same reasons for steps of this machine, even before they are done.

    `current` is the machine here. Artifacts are compared by the machines that made them, in
    whatever run that was.
    """
    if not record.plan.compute.deterministic:
        yield "operations were not deterministic"
    executed = [step for step in steps if isinstance(step, StepRecord)]
    for name, done, environment in (
        ("the record", record.steps, record.environment),
        ("this run", executed, current),
    ):
        unknown = [step.id for step in done if not known_makers(step, environment)]
        if unknown:
            named = ", ".join(unknown)
            yield f"the machine that made these artifacts of {name} is not known: {named}"
    recorded = distinct(
        maker for step in record.steps for maker in known_makers(step, record.environment)
    )
    makers = distinct(
        [current, *(maker for step in executed for maker in known_makers(step, current))]
    )
    for name, environments in (("the record", recorded), ("this run", makers)):
        if any((environment.commit or "").endswith("-dirty") for environment in environments):
            yield f"{name} is from a ddspec with uncommitted changes"
    yield from dict.fromkeys(
        f"{what}: {before} in the record, {now} here"
        for maker in recorded
        for machine in makers
        for what, before, now in differing_environment(maker, machine)
    )
    routes = {step.id: step for step in record.steps}
    for step in steps:
        before = routes.get(step.id)
        if before is None or before.route != step.route:
            yield f"step {step.id} was computed on another route"
        elif before.mixed_routes:
            yield f"step {step.id} of the record used artifacts that were made on another route"


def known_makers(step: StepRecord, environment: Environment) -> tuple[Environment, ...]:
    """Return the machines that made a step's artifacts; none if they are not known.

    Images are the same whoever read them, and a step without artifacts has no makers: both get
    `environment`, the machine of the run. So do the steps that a run of ddspec 0.1.0 computed,
    which recorded no makers.
    """
    if step.environments:
        return step.environments
    if step.kind == "dataset" or not step.bytes or step.status == "computed":
        return (environment,)
    return ()


def distinct(environments: Iterable[Environment]) -> list[Environment]:
    """Return the environments without repetitions."""
    kept: list[Environment] = []
    for environment in environments:
        if environment not in kept:
            kept.append(environment)
    return kept


def differing_environment(
    recorded: Environment, current: Environment
) -> Iterator[tuple[str, str, str]]:
    """Yield the parts of two environments that differ and may change bits."""
    pairs = [
        ("ddspec", recorded.ddspec, current.ddspec),
        ("commit", recorded.commit or "none", current.commit or "none"),
        ("system", recorded.system, current.system),
        ("device", recorded.device, current.device),
    ]
    pairs += [
        (name, recorded.packages.get(name, "none"), current.packages.get(name, "none"))
        for name in NUMERIC_PACKAGES
    ]
    # Records of ddspec 0.1.0 do not name the software of the GPU.
    if recorded.cuda and current.cuda:
        pairs += [
            ("CUDA", recorded.cuda, current.cuda),
            ("cuDNN", recorded.cudnn or "none", current.cudnn or "none"),
        ]
    # Nor do they name the instruction set, by which torch and its libraries choose their code.
    if recorded.instruction_set and current.instruction_set:
        pairs.append(("instruction set", *only_in_one(recorded, current)))
    unknown = "unknown" if recorded.variables is None else "none"
    before, now = recorded.variables or {}, current.variables or {}
    pairs += [
        (name, before.get(name, unknown), now.get(name, "none"))
        for name in sorted(before.keys() | now.keys())
    ]
    yield from (pair for pair in pairs if pair[1] != pair[2])


def only_in_one(recorded: Environment, current: Environment) -> tuple[str, str]:
    """Return the extensions that one processor has and the other lacks; both empty if none.

    Processors have dozens of extensions, of which few differ.
    """
    before = set((recorded.instruction_set or "").split())
    now = set((current.instruction_set or "").split())
    if before == now:
        return "", ""
    lacking = (sorted(before - now), sorted(now - before))
    first, other = (" ".join(extensions) or "nothing more" for extensions in lacking)
    return first, other


def compare_records(
    record: Record, repeated: Record, reasons: tuple[str, ...]
) -> Iterator[Reproduced]:
    """Yield every number of the results, the result first; then the outcome and the series."""
    for what, ours, theirs in accuracy_pairs(record, repeated):
        yield compare_accuracies(what, ours, theirs, reasons)
    recorded, current = record.results, repeated.results
    if recorded.expert is not None or current.expert is not None:
        yield compare_numbers(
            "expert 0 at its last epoch", recorded.expert, current.expert, reasons
        )
    yield compare_outcomes(record, repeated, reasons)
    yield compare_facts(record, repeated)
    unused = unused_series(record.plan.distill)
    for name in Series.model_fields:
        series = getattr(record.series, name), getattr(repeated.series, name)
        is_known = name in record.series.known or name in repeated.series.known
        if is_known and not (name in unused and series[0] == series[1]):
            yield compare_series(SERIES_WORDS[name], *series, reasons)
    yield compare_entries("every evaluation", record.evaluations, repeated.evaluations, reasons)
    yield compare_entries("every epoch of every expert", record.experts, repeated.experts, reasons)
    for what, before, now in (
        ("mean soft labels", soft_labels_of(record), soft_labels_of(repeated)),
        ("losses by class", class_losses_of(record), class_losses_of(repeated)),
        ("clusters", record.clusters, repeated.clusters),
    ):
        if before or now:
            yield compare_entries(what, before, now, reasons)


AccuracyPair = tuple[str, Accuracy | None, Accuracy | None]
"""What an accuracy is of, the recorded one and the one measured again."""


def accuracy_pairs(record: Record, repeated: Record) -> Iterator[AccuracyPair]:
    """Yield every accuracy of either run once, the result first.

    The result is also an iterate and a set tested on a network; a pair of accuracies that came
    before under another name is left out.
    """
    recorded, current = record.results, repeated.results
    pairs: list[AccuracyPair] = [
        (f"result ({record.plan.choose})", recorded.accuracy, current.accuracy),
        ("last iterate", recorded.last, current.last),
        ("best iterate on the test set", recorded.best_on_test, current.best_on_test),
        ("best iterate on held-out images", recorded.on_validation, current.on_validation),
    ]
    for what, ours, theirs in (
        ("chosen set", recorded.per_network, current.per_network),
        *(
            (SUBJECT_WORDS[subject], per_network, current.baselines[subject])
            for subject, per_network in recorded.baselines.items()
        ),
    ):
        networks = dict.fromkeys([*ours, *theirs])
        pairs += [(f"{what}, {name}", ours.get(name), theirs.get(name)) for name in networks]
    counted = []
    for what, before, now in pairs:
        numbers = [accuracy and accuracy.model_copy(update=UNCHOSEN) for accuracy in (before, now)]
        if any(numbers) and numbers not in counted:
            counted.append(numbers)
            yield what, before, now


UNCHOSEN = {"choose": "none"}
"""By which choice an accuracy was found does not make it another number."""


def soft_labels_of(record: Record) -> tuple[SoftLabels, ...]:
    """Return the soft labels of a record; none if its labels are hard."""
    return () if record.soft_labels is None else (record.soft_labels,)


def class_losses_of(record: Record) -> tuple[ClassLosses, ...]:
    """Return the losses by class of a record; none if classes are not compared."""
    return () if record.class_losses is None else (record.class_losses,)


def compare_facts(record: Record, repeated: Record) -> Reproduced:
    """Compare what does not depend on bits: facts of the images, and bytes of trajectories."""
    before, now = record.dataset.model_dump(), repeated.dataset.model_dump()
    changed = [key for key, value in now.items() if value != before[key]]
    if record.storage != repeated.storage:
        changed.append("storage")
    verdict: Verdict = "FAIL" if changed else "PASS"
    reason = f"other {', '.join(changed)}" if changed else "the same"
    return verdict_on("facts of the images, bytes of trajectories", None, None, verdict, reason)


def compare_accuracies(
    what: str, recorded: Accuracy | None, repeated: Accuracy | None, reasons: tuple[str, ...]
) -> Reproduced:
    """Compare one accuracy: by bits or, if they may differ, by Welch's test."""
    if recorded is None or repeated is None:
        side = "the record has none" if recorded is None else "the run gave none"
        verdict: Verdict = "NOT COMPARABLE" if recorded is None else "FAIL"
        return verdict_on(
            what, measured_accuracy(recorded), measured_accuracy(repeated), verdict, side
        )
    pair = what, measured_accuracy(recorded), measured_accuracy(repeated)
    if recorded == repeated:
        return verdict_on(*pair, "PASS", "bitwise equal")
    if recorded.values == repeated.values and recorded.iteration == repeated.iteration:
        return verdict_on(*pair, "FAIL", "mean, std or n of the record are not those of its values")
    if not reasons:
        return verdict_on(*pair, "FAIL", UNEXPLAINED)
    test = welch(repeated, recorded)
    if test is None:
        return verdict_on(*pair, "NOT COMPARABLE", "a test needs a spread and n >= 2 on both sides")
    level = REPRODUCTION_LEVEL
    words = f"Welch's test: difference {test.difference:+.2f}, p = {test.p:.3g}; level {level}"
    return verdict_on(*pair, "FAIL" if test.differs(level) else "PASS", words)


UNEXPLAINED = "the bits differ, though nothing is known that may change them"


def compare_numbers(
    what: str, recorded: float | None, repeated: float | None, reasons: tuple[str, ...]
) -> Reproduced:
    """Compare a number without spread: by bits, or not at all if they may differ."""
    verdict: Verdict = "PASS"
    reason = "bitwise equal"
    if recorded != repeated and not reasons:
        verdict, reason = "FAIL", UNEXPLAINED
    elif recorded != repeated:
        verdict, reason = "NOT COMPARABLE", "a single number has no spread to test with"
    return verdict_on(what, measured_number(recorded), measured_number(repeated), verdict, reason)


def measured_number(value: float | None) -> Measured | None:
    """Return a number without spread."""
    return None if value is None else Measured(mean=value)


def compare_outcomes(record: Record, repeated: Record, reasons: tuple[str, ...]) -> Reproduced:
    """Compare how both runs ended, and in which words if bits must be equal."""
    recorded, current = record.outcome, repeated.outcome
    words = [
        outcome.status
        + (f" at iteration {outcome.iteration}" if outcome.iteration is not None else "")
        for outcome in (recorded, current)
    ]
    same_way = recorded.status == current.status and (bool(reasons) or recorded == current)
    reason = f"both {words[0]}" if words[0] == words[1] else f"{words[0]} there, {words[1]} here"
    if not same_way and words[0] == words[1]:
        reason += ", in other words"
    return verdict_on("how it ended", None, None, "PASS" if same_way else "FAIL", reason)


def compare_series(
    name: str, recorded: tuple[float, ...], repeated: tuple[float, ...], reasons: tuple[str, ...]
) -> Reproduced:
    """Compare a number of every iteration; say where the two series start to differ."""
    what = f"{name}, every iteration"
    if recorded == repeated:
        return verdict_on(
            what, None, None, "PASS", f"bitwise equal over {len(repeated)} iterations"
        )
    shared = min(len(recorded), len(repeated))
    part = next((i for i in range(shared) if recorded[i] != repeated[i]), shared)
    where = f"part at iteration {part + 1}"
    if not reasons:
        return verdict_on(what, None, None, "FAIL", f"{where}: {UNEXPLAINED}")
    return verdict_on(what, None, None, "NOT COMPARABLE", f"{where}; rounding grows from there")


def compare_entries(
    what: str, recorded: Sequence[object], repeated: Sequence[object], reasons: tuple[str, ...]
) -> Reproduced:
    """Compare many entries at once; say how many differ."""
    if recorded == repeated:
        return verdict_on(what, None, None, "PASS", f"bitwise equal over {len(repeated)} entries")
    if len(recorded) != len(repeated):
        return verdict_on(what, None, None, "FAIL", f"{len(recorded)} there, {len(repeated)} here")
    apart = sum(entry != other for entry, other in zip(recorded, repeated, strict=True))
    count = f"{apart} of {len(repeated)} entries are not bitwise equal"
    if not reasons:
        return verdict_on(what, None, None, "FAIL", f"{count}: {UNEXPLAINED}")
    return verdict_on(what, None, None, "NOT COMPARABLE", count)


def measured_accuracy(accuracy: Accuracy | None) -> Measured | None:
    """Return an accuracy as a number with its spread."""
    if accuracy is None:
        return None
    return Measured(mean=accuracy.mean, std=accuracy.std, n=accuracy.n, values=accuracy.values)


def against_published(run: Record, expected: Sequence[Expectation]) -> Iterator[Reproduced]:
    """Yield every published number of a spec, then the outcome.

    A number that was not measured fails, and so does a run that did not end as planned."""
    measured = {comparison.expectation: comparison for comparison in run.compared}
    for expectation in expected:
        if expectation in measured:
            yield compare_published(measured[expectation])
        else:
            what = f"{expectation.network}, {expectation.choose}: {expectation.source}"
            number = Measured(mean=expectation.accuracy, std=expectation.std, n=expectation.n)
            yield verdict_on(what, number, None, "FAIL", "it was not measured")
    status = run.outcome.status
    verdict: Verdict = "PASS" if status == "done" else "FAIL"
    yield verdict_on("how it ended", None, None, verdict, f"{status} here")


def compare_published(comparison: Compared) -> Reproduced:
    """Compare a published number with the measured one."""
    expectation = comparison.expectation
    verdicts: dict[str, Verdict] = {
        "agrees": "PASS",
        "differs": "FAIL",
        "not decidable": "NOT COMPARABLE",
    }
    return verdict_on(
        f"{expectation.network}, {expectation.choose}: {expectation.source}",
        Measured(mean=expectation.accuracy, std=expectation.std, n=expectation.n),
        measured_accuracy(comparison.measured),
        verdicts[comparison.verdict],
        comparison.test,
    )


def verdict_on(
    what: str,
    recorded: Measured | None,
    repeated: Measured | None,
    verdict: Verdict,
    reason: str,
) -> Reproduced:
    """Return one number with its verdict."""
    return Reproduced(what=what, recorded=recorded, found=repeated, verdict=verdict, reason=reason)

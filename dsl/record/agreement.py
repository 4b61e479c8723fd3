"""Whether two records of one plan agree: bitwise where nothing may differ, else by a test."""

from collections.abc import Iterator, Sequence

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
from ddspec.dsl.record.series import Series
from ddspec.dsl.record.statistics import REPRODUCTION_LEVEL, welch
from ddspec.dsl.spec.evaluation import Expectation

NUMERIC_PACKAGES = ("torch", "numpy", "scikit-learn")


def reasons_bits_may_differ(record: Record, found: Record) -> Iterator[str]:
    """What gives leave to other bits: whatever may change them and is not the same."""
    yield from differing_conditions(record, found.environment, found.steps)
    mixed = [step.id for step in found.steps if step.mixed_routes]
    yield from (f"step {id} used artifacts that were made by another route" for id in mixed)


def differing_conditions(
    record: Record, here: Environment, steps: Sequence[StepRecord | EvaluateStep]
) -> Iterator[str]:
    """The same for steps that are done here, of those of a record."""
    there = record.environment
    if not record.plan.compute.deterministic:
        yield "operations were not held to be deterministic"
    found_before = [s.id for s in record.steps if s.kind != "dataset" and s.status != "computed"]
    if found_before:
        named = ", ".join(found_before)
        yield f"on what the reused artifacts of the record were made is not known: {named}"
    for name, environment in (("the record", there), ("this run", here)):
        if (environment.commit or "").endswith("-dirty"):
            yield f"{name} is of a ddspec whose files were changed after its commit"
    for what, one, other in differing_environment(there, here):
        yield f"{what}: {one} in the record, {other} here"
    routes = {step.id: step for step in record.steps}
    for step in steps:
        before = routes.get(step.id)
        if before is None or before.route != step.route:
            yield f"step {step.id} went by another route"
        elif before.mixed_routes:
            yield f"step {step.id} of the record used artifacts that were made by another route"


def differing_environment(there: Environment, here: Environment) -> Iterator[tuple[str, str, str]]:
    """Parts of two environments that may change bits and are not the same."""
    pairs = [
        ("ddspec", there.ddspec, here.ddspec),
        ("commit", there.commit or "none", here.commit or "none"),
        ("system", there.system, here.system),
        ("device", there.device, here.device),
    ]
    pairs += [
        (name, there.packages.get(name, "none"), here.packages.get(name, "none"))
        for name in NUMERIC_PACKAGES
    ]
    yield from (pair for pair in pairs if pair[1] != pair[2])


def compare_records(
    record: Record, found: Record, reasons: tuple[str, ...]
) -> Iterator[Reproduced]:
    """Every number of the results, the result first; then how the run ended, and the series."""
    there, here = record.results, found.results
    for what, one, other in (
        (f"result ({record.plan.choose})", there.accuracy, here.accuracy),
        ("last iterate", there.last, here.last),
        ("best iterate on the test set", there.best_on_test, here.best_on_test),
        ("best iterate on held-out images", there.on_validation, here.on_validation),
    ):
        if one is not None or other is not None:
            yield compare_accuracies(what, one, other, reasons)
    for what, ours, theirs in (
        ("chosen set", there.per_network, here.per_network),
        *(
            (SUBJECT_WORDS[subject], per_network, here.baselines[subject])
            for subject, per_network in there.baselines.items()
        ),
    ):
        for network in dict.fromkeys([*ours, *theirs]):
            yield compare_accuracies(
                f"{what}, {network}", ours.get(network), theirs.get(network), reasons
            )
    if there.expert is not None or here.expert is not None:
        yield compare_numbers("expert 0 at its last epoch", there.expert, here.expert, reasons)
    yield compare_outcomes(record, found)
    yield from (
        compare_series(name, getattr(record.series, name), getattr(found.series, name), reasons)
        for name in Series.model_fields
    )
    yield compare_entries("every evaluation", record.evaluations, found.evaluations, reasons)
    yield compare_entries("every epoch of every expert", record.experts, found.experts, reasons)


def compare_accuracies(
    what: str, recorded: Accuracy | None, found: Accuracy | None, reasons: tuple[str, ...]
) -> Reproduced:
    """One accuracy: the same bits, or else, where they may differ, Welch's test."""
    if recorded is None or found is None:
        side = "the record has none" if recorded is None else "the run gave none"
        verdict: Verdict = "NOT COMPARABLE" if recorded is None else "FAIL"
        return verdict_on(
            what, measured_accuracy(recorded), measured_accuracy(found), verdict, side
        )
    pair = what, measured_accuracy(recorded), measured_accuracy(found)
    if recorded == found:
        return verdict_on(*pair, "PASS", "bitwise equal")
    if recorded.values == found.values and recorded.iteration == found.iteration:
        return verdict_on(*pair, "FAIL", "mean, std or n of the record are not those of its values")
    if not reasons:
        return verdict_on(*pair, "FAIL", UNEXPLAINED)
    test = welch(found, recorded)
    if test is None:
        return verdict_on(*pair, "NOT COMPARABLE", "a test needs spread and n >= 2 on both sides")
    level = REPRODUCTION_LEVEL
    words = f"Welch's test: difference {test.difference:+.2f}, p = {test.p:.3g}; level {level}"
    return verdict_on(*pair, "FAIL" if test.differs(level) else "PASS", words)


UNEXPLAINED = "other bits, though nothing is known that may change them"


def compare_numbers(
    what: str, recorded: float | None, found: float | None, reasons: tuple[str, ...]
) -> Reproduced:
    """A number without spread: the same bits, or nothing can be said where they may differ."""
    verdict: Verdict = "PASS"
    reason = "bitwise equal"
    if recorded != found and not reasons:
        verdict, reason = "FAIL", UNEXPLAINED
    elif recorded != found:
        verdict, reason = "NOT COMPARABLE", "a single number has no spread to test with"
    return verdict_on(what, measured_number(recorded), measured_number(found), verdict, reason)


def measured_number(value: float | None) -> Measured | None:
    """A number without spread."""
    return None if value is None else Measured(mean=value)


def compare_outcomes(record: Record, found: Record) -> Reproduced:
    """How both runs ended."""
    there, here = record.outcome, found.outcome
    said = [
        one.status + (f" at iteration {one.iteration}" if one.iteration is not None else "")
        for one in (there, here)
    ]
    same_way = there.status == here.status
    reason = f"both {said[0]}" if said[0] == said[1] else f"{said[0]} there, {said[1]} here"
    return verdict_on("how it ended", None, None, "PASS" if same_way else "FAIL", reason)


def compare_series(
    name: str, recorded: tuple[float, ...], found: tuple[float, ...], reasons: tuple[str, ...]
) -> Reproduced:
    """A number of every iteration: the same bits, or where they part."""
    what = f"{name.replace('_', ' ')} of every iteration"
    if recorded == found:
        return verdict_on(what, None, None, "PASS", f"bitwise equal over {len(found)} iterations")
    shared = min(len(recorded), len(found))
    part = next((i for i in range(shared) if recorded[i] != found[i]), shared)
    said = f"part at iteration {part + 1}"
    if not reasons:
        return verdict_on(what, None, None, "FAIL", f"{said}: {UNEXPLAINED}")
    return verdict_on(what, None, None, "NOT COMPARABLE", f"{said}; rounding grows from there")


def compare_entries(
    what: str, recorded: Sequence[object], found: Sequence[object], reasons: tuple[str, ...]
) -> Reproduced:
    """Many numbers at once: the same bits, or how many entries are not."""
    if recorded == found:
        return verdict_on(what, None, None, "PASS", f"bitwise equal over {len(found)} entries")
    if len(recorded) != len(found):
        return verdict_on(what, None, None, "FAIL", f"{len(recorded)} there, {len(found)} here")
    apart = sum(one != other for one, other in zip(recorded, found, strict=True))
    said = f"{apart} of {len(found)} entries are not bitwise equal"
    if not reasons:
        return verdict_on(what, None, None, "FAIL", f"{said}: {UNEXPLAINED}")
    return verdict_on(what, None, None, "NOT COMPARABLE", said)


def measured_accuracy(accuracy: Accuracy | None) -> Measured | None:
    """An accuracy as a number with its spread."""
    if accuracy is None:
        return None
    return Measured(mean=accuracy.mean, std=accuracy.std, n=accuracy.n, values=accuracy.values)


def against_published(found: Record, expected: Sequence[Expectation]) -> Iterator[Reproduced]:
    """Every published number of a spec; what was not measured fails, and so does a run that ended
    on its way."""
    measured = {one.expectation: one for one in found.compared}
    for expectation in expected:
        if expectation in measured:
            yield compare_published(measured[expectation])
        else:
            what = f"{expectation.network}, {expectation.choose}: {expectation.source}"
            number = Measured(mean=expectation.accuracy, std=expectation.std, n=expectation.n)
            yield verdict_on(what, number, None, "FAIL", "it was not measured")
    status = found.outcome.status
    verdict: Verdict = "PASS" if status == "done" else "FAIL"
    yield verdict_on("how it ended", None, None, verdict, f"{status} here")


def compare_published(one: Compared) -> Reproduced:
    """A published number beside the measured one."""
    expectation = one.expectation
    verdicts: dict[str, Verdict] = {
        "agrees": "PASS",
        "differs": "FAIL",
        "not decidable": "NOT COMPARABLE",
    }
    return verdict_on(
        f"{expectation.network}, {expectation.choose}: {expectation.source}",
        Measured(mean=expectation.accuracy, std=expectation.std, n=expectation.n),
        measured_accuracy(one.measured),
        verdicts[one.verdict],
        one.test,
    )


def verdict_on(
    what: str,
    recorded: Measured | None,
    found: Measured | None,
    verdict: Verdict,
    reason: str,
) -> Reproduced:
    """One number with its verdict."""
    return Reproduced(what=what, recorded=recorded, found=found, verdict=verdict, reason=reason)

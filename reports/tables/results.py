"""The tables of a report: pure functions from the record to rows.

Accuracies are in percent, their std is the population's, as in the field.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never, get_args

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Accuracy, Compared, ExpertRecord, Record
from ddspec.dsl.record.results import accuracy_of, chosen_accuracy, distilled_sets
from ddspec.dsl.record.series import Guarded
from ddspec.dsl.record.statistics import half_interval
from ddspec.dsl.terms import Choice, Subject
from ddspec.reports.format import fixed, listed, plural, signed, significant, spread

CHOICES: dict[str, str] = {
    "last": "the last iterate",
    "best_on_test": "the best iterate on the test set",
    "validation": "the best iterate on held-out images",
    "none": "no choice among iterates",
}


@dataclass(frozen=True)
class ResultRow:
    """An accuracy as a row."""

    network: str
    subject: str
    result: bool
    """Whether it is what `evaluation.choose` asked for."""
    iteration: str
    mean: str
    std: str
    n: str
    interval: str
    values: str


INITIAL = "the initial set, before the first iteration"


def result_rows(record: Record) -> list[ResultRow]:
    """Per network: every choice among the iterates, and the random-real baseline."""
    rows: list[ResultRow] = []
    for step in record.plan.evaluations("distilled"):
        network = step.network_name
        own = [e for e in record.evaluations if e.network == network and e.values]
        evaluated = distilled_sets(record.plan, own)
        tries = len(evaluated)
        choices: tuple[Choice, ...] = get_args(Choice)
        if record.plan.distill.matching.iterations == 0:
            choices = ()
            alone = f"the initial set ({record.plan.distill.synthetic.init.name}), not distilled"
            rows += [result_row(accuracy_of(e, "none"), alone, True) for e in evaluated]
        for choice in choices:
            accuracy = chosen_accuracy(evaluated, network, choice)
            if accuracy is not None:
                subject = f"distilled, {CHOICES[choice]}"
                if choice == "best_on_test":
                    subject += f" (maximum of {plural(tries, 'evaluation')})"
                rows.append(result_row(accuracy, subject, choice == record.plan.choose))
        initial = [e for e in own if e.subject == "distilled" and e not in evaluated]
        rows += [result_row(accuracy_of(e, "none"), INITIAL, False) for e in initial]
        rows += [
            result_row(accuracies[network], baseline_words(subject, record), False)
            for subject, accuracies in record.results.baselines.items()
            if network in accuracies
        ]
    return rows


def baseline_words(subject: Subject, record: Record) -> str:
    """Return what a baseline's networks were trained on."""
    match subject:
        case "random_real":
            return "random real images, equal number, hard labels"
        case "random_real_expert_labels":
            return "the same random real images, soft labels of expert 0"
        case "full_data":
            return f"all {record.dataset.train_count:,} real images"
        case "distilled":
            raise ValueError("the distilled set is not a baseline")
        case _:
            assert_never(subject)


def ranking_rows(record: Record) -> list[tuple[str, str]]:
    """Return the improvement over random images and the recovery of real ones, if measured.

    Both compare like with like: a set with soft labels is held against random images with soft
    labels, and its distance to real images is not counted.
    """
    results, found = record.results, record.results.accuracy
    if found is None:
        return []
    hard = record.plan.distill.synthetic.labels.name == "hard"
    random = results.random_real if hard else results.random_real_expert_labels
    rows = []
    if found.network in random:
        labels = "hard" if hard else "soft"
        gain = found.mean - random[found.network].mean
        rows.append((f"improvement over random images, {labels} labels (IOR)", signed(gain)))
    if hard and found.network in results.full_data:
        gap = results.full_data[found.network].mean - found.mean
        rows.append(("left to all real images, hard labels (HLR)", signed(gap)))
    return rows


def result_row(accuracy: Accuracy, subject: str, result: bool) -> ResultRow:
    """One accuracy in words and digits."""
    half = half_interval(accuracy)
    interval = ""
    if half is not None:
        low, high = max(0.0, accuracy.mean - half), min(100.0, accuracy.mean + half)
        interval = f"{fixed(low)} to {fixed(high)}"
    return ResultRow(
        network=accuracy.network,
        subject=subject,
        result=result,
        iteration=f"{accuracy.iteration:,}" if accuracy.choose != "none" else "",
        mean=fixed(accuracy.mean),
        std=fixed(accuracy.std) if accuracy.n > 1 else "",
        n=str(accuracy.n),
        interval=interval,
        values=listed(accuracy.values),
    )


def reached_rows(record: Record) -> list[tuple[str, ...]]:
    """Accuracies, and the iterations that the first network needed for them."""
    return [
        (
            one.what,
            fixed(one.accuracy),
            "not reached" if one.iteration is None else f"{one.iteration:,}",
        )
        for one in record.results.reached
    ]


def deviation_rows(record: Record) -> list[tuple[str, ...]]:
    """Keys whose value is not the paper's: value here, value there, the paper."""
    return [(one.key, one.value, one.paper, one.source) for one in record.deviations]


def guard_rows(record: Record) -> list[tuple[str, str]]:
    """Return how many updates each guard of the spec skipped, clipped or held."""
    matching, synthetic = record.plan.distill.matching, record.plan.distill.synthetic
    series, total = record.series, plural(len(record.series.guarded), "iteration")
    rows: list[tuple[str, str]] = []

    def add(name: str, count: int) -> None:
        rows.append((name, f"{count:,} of {total}"))

    skips = [] if matching.loss_limit is None else [f"loss above {matching.loss_limit:g}"]
    limit = matching.gradient_limit
    if limit is not None and limit.action == "skip":
        skips.append(f"gradient norm above {limit.norm:g}")
    if skips:
        add(f"updates skipped ({' or '.join(skips)})", series.guarded.count(Guarded.SKIPPED))
    if limit is not None and limit.action == "clip":
        add(f"gradients clipped to norm {limit.norm:g}", series.guarded.count(Guarded.CLIPPED))
    if synthetic.student_lr.positivity == "hold":
        add("updates that student_lr was held back from", sum(series.rate_held))
    return rows


@dataclass(frozen=True)
class ExpectationRow:
    """A published number beside the measured one."""

    network: str
    choice: str
    published: str
    measured: str
    difference: str
    verdict: str
    test: str
    source: str


def expectation_rows(compared: Sequence[Compared]) -> list[ExpectationRow]:
    """Published numbers with their source, each beside what was measured by the same choice."""
    return [expectation_row(one) for one in compared]


def expectation_row(one: Compared) -> ExpectationRow:
    """One comparison in words and digits."""
    expectation, measured = one.expectation, one.measured
    published = fixed(expectation.accuracy)
    if expectation.std is not None:
        published = spread(expectation.accuracy, expectation.std, 2)
    if expectation.n is not None:
        published += f" (n = {expectation.n})"
    return ExpectationRow(
        network=expectation.network,
        choice=CHOICES[expectation.choose],
        published=published,
        measured=f"{spread(measured.mean, measured.std, measured.n)} (n = {measured.n})",
        difference=signed(one.difference),
        verdict=one.verdict,
        test=one.test,
        source=expectation.source,
    )


def expert_rows(experts: Sequence[ExpertRecord]) -> list[tuple[str, ...]]:
    """Per expert: epochs, accuracy at its end, training loss, Avg_Var."""
    return [
        (
            str(expert.index),
            str(len(expert.step_length)),
            fixed(expert.test_accuracy[-1]) if expert.test_accuracy else "",
            significant(expert.train_loss[-1]) if expert.train_loss else "",
            significant(expert.avg_var) if expert.step_length else "",
        )
        for expert in experts
    ]


@dataclass(frozen=True)
class DigestRow:
    """A step of the plan and what names its result."""

    id: str
    kind: str
    digest: str
    needs: str
    members: str


def digest_rows(plan: Plan) -> list[DigestRow]:
    """The steps in the order of their running."""
    names = {step.digest: step.id for step in plan.steps}
    return [
        DigestRow(
            id=step.id,
            kind=step.kind,
            digest=step.digest,
            needs=", ".join(
                names.get(needed, f"{role} {needed}")
                for role, needed in step.preimage.get("needs", {}).items()
            ),
            members=str(len(getattr(step, "members", ())) or ""),
        )
        for step in plan.steps
    ]


def environment_rows(record: Record) -> list[tuple[str, str]]:
    """Return the environment of the run: everything that its numbers may depend on."""
    found = record.environment
    return [
        ("ddspec", found.ddspec),
        ("commit", found.commit or "not run from a checkout"),
        ("Python", found.python),
        ("system", found.system),
        ("device", found.device),
        ("processor cores", str(found.cores)),
        ("precision", record.plan.compute.precision),
        ("deterministic operations", "yes" if record.plan.compute.deterministic else "no"),
    ]


def runs_from_resolved(record: Record) -> bool:
    """Whether the resolved values are what runs the same again, and not the spec.

    What a preview shrinks depends on the machine; a sweep stands for several runs.
    """
    return bool(record.plan.preview) or record.swept


def rerun_command(record: Record) -> str:
    """The command that runs the same again, with the overrides of this run."""
    if runs_from_resolved(record):
        return "ddspec run resolved.toml"
    words = ["ddspec", "run", f"{record.name}.toml"]
    for option in record.overrides:
        words += ["--set", option.removeprefix("--set ")]
    return shlex.join(words)

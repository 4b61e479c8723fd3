"""The tables of a report: pure functions from the record to rows.

Accuracies are in percent, their std is the population's, as in the field.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import assert_never, get_args

from ddspec.dsl.keys.extension import ExtensionPart
from ddspec.dsl.parsing.loader import recorded_values
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import SUBJECT_WORDS, Accuracy, Compared, ExpertRecord, Record
from ddspec.dsl.record.results import accuracy_of, chosen_accuracy, distilled_sets
from ddspec.dsl.record.series import Guarded
from ddspec.dsl.record.statistics import half_interval
from ddspec.dsl.reference.citations import bibliography
from ddspec.dsl.spec.objectives.outer_loop import GradientLimit
from ddspec.dsl.terms import Choice, Subject
from ddspec.reports.format import comma_separated, fixed, mean_and_std, plural, signed, significant
from ddspec.reports.tables.scores import WEIGHT, Difference, has_hard_labels, scores_of

CHOICES: dict[str, str] = {
    "last": "the last iterate",
    "best_on_test": "the best iterate on the test set",
    "validation": "the best iterate on held-out images",
    "none": "no choice among iterates",
}


@dataclass(frozen=True)
class ResultRow:
    """One row of the table of accuracies."""

    network: str
    subject: str
    result: bool
    """Whether this row is the one that `evaluation.choose` asked for."""
    iteration: str
    mean: str
    std: str
    n: str
    interval: str
    values: str


INITIAL = "the initial set, before the first iteration"


def result_rows(record: Record) -> list[ResultRow]:
    """Return, by network, every choice among the iterates, and the baselines."""
    rows: list[ResultRow] = []
    for step in record.plan.evaluations("distilled"):
        network = step.network_name
        of_network = [e for e in record.evaluations if e.network == network and e.values]
        evaluated = distilled_sets(record.plan, of_network)
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
        initial = [e for e in of_network if e.subject == "distilled" and e not in evaluated]
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
        case "distilled_hard_labels" | "distilled_plain" | "random_real_plain":
            return SUBJECT_WORDS[subject]
        case "distilled":
            raise ValueError("the distilled set is not a baseline")
        case _:
            assert_never(subject)


def ranking_rows(record: Record) -> list[tuple[str, str]]:
    """Return the scores of the chosen set on the first network, as far as baselines are there.

    They compare like with like: a set with soft labels is held against random images with soft
    labels, and against all real images with hard labels of its own.
    """
    accuracy = record.results.accuracy
    if accuracy is None:
        return []
    scores = scores_of(record, accuracy.network)
    labels = "hard" if has_hard_labels(record) else "soft"
    rows = [
        (f"improvement over random images, {labels} labels (IOR)", scores.over_random),
        ("the same without augmentation on both sides", scores.over_random_plain),
        ("left to all real images, hard labels (HLR)", scores.hard_label_recovery),
    ]
    found = [(what, difference_words(score)) for what, score in rows if score is not None]
    robust = [
        (f"label-robust score of DD-Ranking, w = {WEIGHT} (percent)", scores.label_robust),
        (f"augmentation-robust score, w = {WEIGHT} (percent)", scores.augmentation_robust),
    ]
    found += [(what, fixed(percent)) for what, percent in robust if percent is not None]
    return [*found, *cross_network_rows(record)]


def difference_words(difference: Difference) -> str:
    """Return a difference in points with its 95 % interval, if it has one."""
    if difference.half is None:
        return signed(difference.points)
    return f"{signed(difference.points)} \N{PLUS-MINUS SIGN} {fixed(difference.half)}"


def cross_network_rows(record: Record) -> list[tuple[str, str]]:
    """Return mean and worst accuracy over the other networks, if there are several."""
    networks = list(record.results.per_network.values())
    if len(networks) < 2:
        return []
    worst = min(networks, key=lambda accuracy: accuracy.mean)
    others = [accuracy.mean for accuracy in networks[1:]]
    return [
        ("mean over the other networks (percent)", fixed(fmean(others))),
        (f"worst network, {worst.network} (percent)", fixed(worst.mean)),
    ]


def result_row(accuracy: Accuracy, subject: str, result: bool) -> ResultRow:
    """Return one accuracy as text."""
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
        values=comma_separated(accuracy.values),
    )


def reached_rows(record: Record) -> list[tuple[str, ...]]:
    """Return accuracies, and the iterations that the first network needed for them."""
    return [
        (
            reached.what,
            fixed(reached.accuracy),
            "not reached" if reached.iteration is None else f"{reached.iteration:,}",
        )
        for reached in record.results.reached
    ]


def deviation_rows(record: Record) -> list[tuple[str, ...]]:
    """Return keys whose value is not the paper's: the value, the paper's value, the paper."""
    return [
        (deviation.key, deviation.value, deviation.paper, deviation.source)
        for deviation in record.deviations
    ]


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
        skips.append(f"gradient norm above {norm_words(limit)}")
    if skips:
        add(f"updates skipped ({' or '.join(skips)})", series.guarded.count(Guarded.SKIPPED))
    if limit is not None and limit.action == "clip":
        add(
            f"gradients clipped to a norm of {norm_words(limit)}",
            series.guarded.count(Guarded.CLIPPED),
        )
    if synthetic.student_lr.positivity == "hold":
        add("updates in which student_lr was held above zero", sum(series.rate_held))
    return rows


def norm_words(limit: GradientLimit) -> str:
    """Return the largest norm of a gradient: a number, or a multiple of the average."""
    if limit.over_mean is not None:
        return f"{limit.over_mean:g} times the moving average of the norms"
    return f"{limit.norm:g}"


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
    """Return published numbers with their source, each beside the measured one."""
    return [expectation_row(comparison) for comparison in compared]


def expectation_row(comparison: Compared) -> ExpectationRow:
    """Return one comparison as text."""
    expectation, measured = comparison.expectation, comparison.measured
    published = fixed(expectation.accuracy)
    if expectation.std is not None:
        published = mean_and_std(expectation.accuracy, expectation.std, 2)
    if expectation.n is not None:
        stated = f", by {expectation.n_source}" if expectation.n_source else ""
        published += f" (n = {expectation.n}{stated})"
    return ExpectationRow(
        network=expectation.network,
        choice=CHOICES[expectation.choose],
        published=published,
        measured=f"{mean_and_std(measured.mean, measured.std, measured.n)} (n = {measured.n})",
        # One set is not held against the mean over several.
        difference="" if expectation.over == "sweep" else signed(comparison.difference),
        verdict=comparison.verdict,
        test=comparison.test,
        source=expectation.source,
    )


def expert_rows(experts: Sequence[ExpertRecord]) -> list[tuple[str, ...]]:
    """Return, by expert, epochs, final accuracy, training loss and Avg_Var."""
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
    """A step of the plan with its digest."""

    id: str
    kind: str
    digest: str
    needs: str
    members: str


def digest_rows(plan: Plan) -> list[DigestRow]:
    """Return the steps in the order in which they run."""
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
    environment = record.environment
    return [
        ("ddspec", environment.ddspec),
        ("commit", environment.commit or "not run from a checkout"),
        ("Python", environment.python),
        ("system", environment.system),
        ("device", environment.device),
        ("processor cores", str(environment.cores)),
        *(
            [("instruction set", environment.instruction_set)]
            if environment.instruction_set
            else []
        ),
        *(environment.variables or {}).items(),
        ("precision", record.plan.compute.precision),
        ("deterministic operations", "yes" if record.plan.compute.deterministic else "no"),
        *((part.part, extension_words(part)) for part in record.plan.extension_parts),
    ]


def extension_words(part: ExtensionPart) -> str:
    """Return which code a part of an extension means."""
    return f"version {part.version} of the extension of {part.owner}, code {part.code}"


def runs_from_resolved(record: Record) -> bool:
    """Return whether the resolved values, not the spec, run the same experiment again.

    A preview is shrunk to fit the machine, and the spec of a sweep describes several runs.
    """
    return bool(record.plan.preview) or record.swept


def bibtex(record: Record) -> str:
    """Return what to cite for a run, as BibTeX; empty if another ddspec wrote its spec."""
    try:
        spec = recorded_values(record.resolved)
    except ValueError:
        return ""
    return bibliography([spec], record.environment.ddspec)


def rerun_command(record: Record) -> str:
    """Return the command that runs the same experiment again, with this run's overrides."""
    if runs_from_resolved(record):
        return "ddspec run resolved.toml"
    words = ["ddspec", "run", f"{record.name}.toml"]
    for option in record.overrides:
        words += ["--set", option.removeprefix("--set ")]
    return shlex.join(words)

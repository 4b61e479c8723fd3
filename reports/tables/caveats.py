"""What to know before believing the numbers of a run, and their smaller limits."""

from collections.abc import Iterator

from ddspec.dsl.facts.datasets import other_split
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.results import distilled_sets
from ddspec.dsl.record.series import Guarded
from ddspec.dsl.terms import BEST_EPOCH_PROTOCOLS
from ddspec.reports.format import parts_per_side, plural


def caveats(record: Record) -> list[str]:
    """Return what may change the conclusion of a reader; most runs have one or two."""
    return [*caveats_of_result(record), *caveats_of_course(record)]


def caveats_of_result(record: Record) -> Iterator[str]:
    """Yield how far the result may be from that of another seed, or of unseen images."""
    accuracy, plan = record.results.accuracy, record.plan
    if accuracy is not None:
        one_set = "one synthetic set" if plan.distill.matching.iterations else "one initial set"
        yield (
            f"One seed: the spread is over {plural(accuracy.n, 'network')} trained on {one_set}. "
            "Another seed gives another set, whose mean may lie outside this interval."
        )
    if accuracy is not None and accuracy.choose == "best_on_test":
        of_network = [e for e in record.evaluations if e.network == accuracy.network and e.values]
        count = len(distilled_sets(plan, of_network))
        yield (
            f"The result is a maximum over {plural(count, 'evaluation')} on the test set, as in "
            "the literature, and too high as an estimate for unseen images."
        )
    if accuracy is not None and accuracy.network not in record.results.random_real:
        yield "No random real images were evaluated, so the gain over them is not known."
    evaluation = plan.evaluations("distilled")[0].evaluation
    if evaluation.protocol in BEST_EPOCH_PROTOCOLS and not plan.dataset.dataset.validation:
        yield (
            "Every accuracy is the best over the epochs of its network on the test set, as in "
            f"{BEST_EPOCH_PROTOCOLS[evaluation.protocol]}'s public code, and too high."
        )
    difference = other_split(plan.dataset.dataset.name, plan.dataset.facts)
    if difference is not None:
        yield f"The dataset has {difference}: published accuracies do not apply to it."
    parts = parts_per_side(record)
    if parts > 1:
        yield (
            f"Each stored image holds {parts}x{parts} small ones: networks are trained on "
            f"{parts**2} times as many images as the number per class says, at a lower "
            "resolution. Such a result is not one of the same number of whole images."
        )
    diverged = sum(evaluated.ran_away for evaluated in record.evaluations)
    if diverged:
        trained = sum(len(evaluated.values) for evaluated in record.evaluations)
        yield (
            f"{diverged:,} of {plural(trained, 'evaluated network')} diverged; their accuracy is "
            "that of predicting one class."
        )


def caveats_of_course(record: Record) -> Iterator[str]:
    """Yield what did not go as the spec asks for."""
    if record.outcome.status != "done":
        yield "The run did not end as planned; numbers and images are of its last good state."
    skipped = record.series.guarded.count(Guarded.SKIPPED)
    if skipped:
        yield f"The limits skipped {skipped:,} of {plural(len(record.series.guarded), 'update')}."
    held = [number for number, was_held in enumerate(record.series.rate_held) if was_held]
    if held and any("positivity" in change for change in record.plan.preview):
        yield (
            f"The preview held student_lr above zero in iteration {held[0]:,}, where the full run "
            "would stop: lower synthetic.student_lr.lr."
        )
    experts = record.plan.trajectories
    if experts is not None and experts.recipe.experts.imported is not None:
        yield "The experts were imported: how they were trained is not known."


def limits(record: Record) -> list[str]:
    """Return the limits of the numbers that are the same in most runs, or small."""
    sentences = [
        "Networks are tested on the test set at every evaluated iterate. The best of them is a "
        "maximum over that set and reads too high as an estimate for unseen images; the last "
        "iterate was not selected.",
        "Estimates of time, memory and size count operations, "
        + (
            "at rates that were measured on the machine in two seconds."
            if record.plan.measured_rates
            else "at round rates for a kind of device."
        ),
    ]
    if record.overrides:
        sentences.append(
            f"The run differs from the spec by {plural(len(record.overrides), '--set option')}."
        )
    if not record.plan.compute.deterministic:
        sentences.append(
            "Operations were not held to be deterministic: a second run may differ in bits."
        )
    mixed = [step.id for step in record.steps if step.mixed_routes]
    if mixed:
        sentences.append(
            f"Some artifacts were made by another route (device or threads): {', '.join(mixed)}. "
            "They are equally valid, but a run from nothing need not give the same bytes."
        )
    return sentences

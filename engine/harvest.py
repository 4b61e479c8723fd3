"""From artifacts to a record: everything that a run has to say, read from the store."""

from collections.abc import Sequence

import numpy as np

from ddspec.dsl.digest import digest
from ddspec.dsl.plan import DistillStep, ExpertMember, ExpertsStep, Plan
from ddspec.dsl.record import (
    Accuracy,
    Compared,
    Evaluated,
    ExpertRecord,
    Results,
    Series,
    StepRecord,
    StepStatus,
    Storage,
    accuracy_of,
    chosen_accuracy,
    compare,
    distilled_sets,
)
from ddspec.dsl.spec import Expectation
from ddspec.dsl.terms import Choice
from ddspec.engine.artifacts import LOG, SERIES, accuracies, evaluation_rate, unfinished
from ddspec.engine.control import Done
from ddspec.engine.store import ArtifactKind, Store
from ddspec.engine.survey import Standing, artifacts_of

FLOAT_BYTES = 4


def step_records(before: Sequence[Standing], store: Store, done: Done) -> tuple[StepRecord, ...]:
    """What each step did in this run, and what its artifacts cost when they were made."""
    return tuple(step_record(standing, store, done) for standing in before)


def step_record(standing: Standing, store: Store, done: Done) -> StepRecord:
    """One step."""
    step = standing.step
    now = list(artifacts_of(step, store))
    left = sum(not artifact.complete for artifact in now)
    present = [artifact for artifact in now if artifact.have]
    origins = [store.provenance(artifact.kind, artifact.digest) for artifact in present]
    costs = [origin.seconds for origin in origins]
    return StepRecord(
        id=step.id,
        kind=step.kind,
        digest=step.digest,
        status=step_status(standing, left, done),
        members=len(now),
        computed=max(0, len(standing.missing) - left),
        seconds=done.seconds.get(step.id, 0.0),
        # States of one distillation carry the cost of the whole way to them.
        seconds_when_made=max(costs, default=0.0) if step.kind == "distill" else sum(costs),
        bytes=sum(store.size(artifact.kind, artifact.digest) for artifact in present),
        route=step.route,
        mixed_routes=any(origin.routes not in ((), (step.route,)) for origin in origins),
        estimate=step.estimate,
    )


def step_status(standing: Standing, left: int, done: Done) -> StepStatus:
    """In a word, what became of a step."""
    if not standing.missing:
        return "reused"
    if standing.step.id == done.stopped and left:
        return "interrupted" if done.outcome.status == "interrupted" else "failed"
    if left == len(standing.missing):
        return "not run"
    return "computed" if len(standing.missing) == len(standing.artifacts) else "partly reused"


def expert_records(plan: Plan, store: Store) -> tuple[ExpertRecord, ...]:
    """Training of every expert that the store holds, as far as this plan asks for it."""
    step = plan.trajectories
    kind: ArtifactKind = "expert" if isinstance(step, ExpertsStep) else "trajectory"
    records = []
    for member in step.members:
        if not store.has(kind, member.digest):
            continue
        until = member.epochs if isinstance(member, ExpertMember) else None
        with store.open(kind, member.digest) as file:
            loss, accuracy, tested, lengths = (file[key][:until] for key in LOG)
        whole = np.sqrt(np.square(lengths).sum(axis=1))
        records.append(
            ExpertRecord(
                index=member.number,
                train_loss=tuple(map(float, loss)),
                train_accuracy=tuple(map(float, accuracy)),
                test_accuracy=tuple(map(float, tested)),
                step_length=tuple(map(float, whole)),
            )
        )
    return tuple(records)


def states_of(step: DistillStep, store: Store) -> list[tuple[ArtifactKind, str]]:
    """The last kept state of a distillation; where that is not the end, one left on the way."""
    kept = [m.digest for m in step.members if store.has("synthetic", m.digest)]
    places: list[tuple[ArtifactKind, str]] = [("synthetic", name) for name in kept[-1:]]
    between = digest(unfinished(step))
    if step.members[-1].digest not in kept and store.has("unfinished", between):
        places.append(("unfinished", between))
    return places


def series(plan: Plan, store: Store) -> Series:
    """The outer loop as far as it came."""
    found: dict[str, tuple[float, ...]] = {name: () for name in SERIES}
    step: DistillStep = plan.step("distill")
    last = step.members[-1].number
    for place in states_of(step, store):
        with store.open(*place) as file:
            state = {name: tuple(map(float, file[f"series_{name}"][:last])) for name in SERIES}
        if len(state["expert"]) > len(found["expert"]):
            found = state
    return Series(
        matching_loss=found["matching_loss"],
        student_lr=found["student_lr"],
        gradient_norm=found["gradient_norm"],
        start_epoch=found["start_epoch"],
        expert=tuple(int(value) for value in found["expert"]),
    )


def evaluations(plan: Plan, store: Store) -> tuple[Evaluated, ...]:
    """Every accuracy of every network, distilled sets first."""
    found = []
    for subject in ("distilled", "random_real"):
        for step in plan.evaluations(subject):
            for member in step.members:
                values = accuracies(store, member.digest)
                if values:
                    evaluated = Evaluated(
                        subject=subject,
                        network=step.network_name,
                        iteration=member.number,
                        student_lr=evaluation_rate(store, member.digest),
                        values=values[: step.evaluation.repeats],
                    )
                    found.append(evaluated)
    return tuple(found)


def results(plan: Plan, found: Sequence[Evaluated]) -> Results:
    """The numbers that count, by each choice; none where no iteration was evaluated."""
    networks = [step.network_name for step in plan.evaluations("distilled")]

    def best(choose: Choice) -> Accuracy | None:
        return chosen_accuracy(distilled_sets(plan, found), networks[0], choose)

    sets = distilled_sets(plan, found)
    chosen = {name: chosen_accuracy(sets, name, plan.choose) for name in networks}
    baselines = [evaluated for evaluated in found if evaluated.subject == "random_real"]
    return Results(
        accuracy=chosen[networks[0]],
        last=best("last"),
        best_on_test=best("best_on_test"),
        per_network={name: accuracy for name, accuracy in chosen.items() if accuracy},
        random_real={e.network: accuracy_of(e, "none") for e in baselines},
    )


def compared(
    expectations: Sequence[Expectation], found: Sequence[Evaluated]
) -> tuple[Compared, ...]:
    """Published numbers beside those measured under the same choice."""
    pairs = [
        (expectation, chosen_accuracy(found, expectation.network, expectation.choose))
        for expectation in expectations
    ]
    return tuple(compare(expectation, measured) for expectation, measured in pairs if measured)


def storage(plan: Plan, store: Store) -> Storage:
    """Bytes of the snapshots or waypoints with their constants, against all snapshots."""
    step = plan.trajectories
    kind: ArtifactKind = "expert" if isinstance(step, ExpertsStep) else "trajectory"
    stored_bytes = 0
    for member in step.members:
        if store.has(kind, member.digest):
            rows = member.epochs + 1 if isinstance(member, ExpertMember) else None
            with store.open(kind, member.digest) as file:
                stored_bytes += file["theta"][:rows].nbytes
                if kind == "trajectory":
                    stored_bytes += file["step_length"].nbytes
    experts = len(step.members)
    snapshots = step.recipe.experts.epochs + 1
    full = experts * snapshots * plan.network_parameters * FLOAT_BYTES
    return Storage(experts=experts, stored=stored_bytes, full=full)


def notes(plan: Plan) -> tuple[str, ...]:
    """What a reader must know to read the numbers rightly."""
    said = [
        "The random-real baseline trains each network on its own draw of real images, at the "
        "student_lr that distillation begins with.",
    ]
    if plan.choose == "best_on_test":
        said.append(
            "The result is the maximum over evaluations on the test set, as in the literature; "
            "no held-out data chose it."
        )
    step = plan.trajectories
    if isinstance(step, ExpertsStep) and len({member.epochs for member in step.members}) > 1:
        most, least = step.members[0].epochs, step.members[-1].epochs
        said.append(
            f"Expert 0 ran all {most} epochs; the others stop after {least}, where the last "
            "window ends."
        )
    return tuple(said)

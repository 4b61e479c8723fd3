"""Invented records: plausible runs and sweeps that never happened, for the pages."""

import io
import json
import math
import random
from pathlib import Path

import tomli_w
from PIL import Image

from ddspec.api import Run, departures_of
from ddspec.dsl.facts.datasets import KNOWN, FilesAccount
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.parsing.loader import load_spec_or_sweep, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import ExpertMember, Member, Plan
from ddspec.dsl.record.deviations import deviations
from ddspec.dsl.record.file_names import RECORD_JSON, SWEEP_JSON
from ddspec.dsl.record.record import (
    Accuracy,
    Environment,
    Evaluated,
    ExpertRecord,
    Outcome,
    Reached,
    Record,
    Results,
    StepRecord,
    Storage,
)
from ddspec.dsl.record.results import accuracy_of, chosen_accuracy, compare_with_published
from ddspec.dsl.record.series import Series
from ddspec.dsl.record.sweep import SweptRun
from ddspec.dsl.record.synthetic_set import ClassLosses, ClusterPicture, ImageSheet, SoftLabels
from ddspec.dsl.spec.experiment import Spec, resolved
from ddspec.dsl.spec.objectives.classes import ClassMatching, FeatureMatching
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.sweeps import compile_sweep, make_sweep_record, planned_run, with_outcome


def invented_swept_run(entries: tuple[str, str], mean: float | None, **changes: object) -> SweptRun:
    """Return one run of an invented sweep over N and two cases."""
    accuracy = None
    if mean is not None:
        values = (mean - 1.0, mean, mean + 1.0)
        accuracy = Accuracy(
            mean=mean,
            std=0.82,
            n=3,
            values=values,
            network="convnet",
            choose="last",
            iteration=100,
        )
    return SweptRun(
        label=", ".join(entries),
        entries=entries,
        after="plain" if entries[1] != "plain" else None,
        settings={"matching.syn_steps": int(entries[0].rpartition(" ")[2])},
        folder=f"swept-{entries[0][-1]}{len(entries[1]):07d}",
        digest="0" * 32,
        status="done" if mean is not None else "not run",
        accuracy=accuracy,
        random_real=accuracy,
        seconds=61.0,
    ).model_copy(update=changes)


def invented_run(path: Path, runs: Path) -> Path:
    """Write the folder of an invented run of a spec below `runs`, and return it."""
    record = invented_record(path.read_text(), ())
    return write_run_folder(runs, record, {sheet.file: png_of(sheet) for sheet in record.sheets})


def invented_sweep(path: Path, runs: Path) -> Path:
    """Write the folder of an invented sweep, with all its runs beside it, and return it."""
    compiled = compile_sweep(load_spec_or_sweep(path), store=runs / "store")
    done = {}
    for number, (member, _) in enumerate(compiled.members):
        options = tuple(o.option.removeprefix("--set ") for o in member.loaded.overrides)
        # A run of a sweep reads the spec without its [sweep] table.
        record = invented_record(without_sweep(path.read_text()), options)
        folder = write_run_folder(
            runs, record, {sheet.file: png_of(sheet) for sheet in record.sheets}
        )
        done[number] = with_outcome(planned_run(compiled, number), Run(folder, record))
    swept = make_sweep_record(compiled, done)
    (runs / swept.folder).mkdir()
    (runs / swept.folder / SWEEP_JSON).write_text(swept.model_dump_json())
    return runs / swept.folder


def without_sweep(text: str) -> str:
    """Return the text of a spec up to its `[sweep]`."""
    return text[: text.index("[[sweep.")]


def write_run_folder(tmp_path: Path, record: Record, images: dict[str, bytes]) -> Path:
    """Write record and sheets into a new run folder, and return it."""
    folder = tmp_path / record.plan.folder
    (folder / "images").mkdir(parents=True)
    (folder / RECORD_JSON).write_text(record.model_dump_json())
    for name, content in images.items():
        (folder / "images" / name).write_bytes(content)
    return folder


def invented_record(text: str, overrides: tuple[str, ...]) -> Record:
    """Return the record of an invented run of a spec."""
    loaded = parse_spec(text, "digits_ipc1.toml", overrides)
    spec = loaded.spec
    facts = KNOWN["digits"].model_copy(update={"fingerprint": "f" * 32})
    plan = compile_spec(spec, facts, Machine("cpu", 2))
    draw = random.Random(0)
    evaluations = invented_evaluations(spec, draw)
    form = spec.trajectory.type
    best = chosen_accuracy(evaluations, "convnet", "best_on_test")
    last = chosen_accuracy(evaluations, "convnet", "last")
    assert best is not None and last is not None
    return Record(
        name=spec.name,
        title=spec.title,
        date="2031-02-03T04:05:06Z",
        outcome=Outcome(status="done"),
        results=Results(
            accuracy=last,
            last=last,
            best_on_test=best,
            per_network={"convnet": last},
            random_real={"convnet": accuracy_of(evaluations[-2], "none")},
            random_real_expert_labels={"convnet": accuracy_of(evaluations[-1], "none")}
            if spec.matches_experts
            else {},
            expert=95.5,
            reached=(
                Reached(accuracy=52.0, what="random real images", iteration=0),
                Reached(accuracy=71.3, what="Invented et al., Table 0", iteration=None),
            ),
        ),
        compared=tuple(compare_with_published(expectation, best) for expectation in spec.expect),
        dataset=facts,
        reading=DataReading(
            source="invented/",
            files=FilesAccount(files=1800, images=1797, passed_over={".txt": 2, "hidden": 1}),
        ),
        steps=invented_steps(plan),
        experts=tuple(
            invented_expert(member.number, epochs_of(plan, member), draw, form)
            for member in (plan.trajectories.members if plan.trajectories else ())
        ),
        series=invented_series(spec, draw),
        evaluations=evaluations,
        storage=Storage(experts=8, stored=1_400_000, full=168 * plan.network_parameters * 4),
        sheets=tuple(
            ImageSheet(
                file=f"{iteration:06d}.png",
                iteration=iteration,
                rows=10,
                columns=spec.synthetic.ipc,
                image_height=8,
                image_width=8,
            )
            for iteration in sorted({0, spec.matching.iterations})
        ),
        class_losses=ClassLosses(
            iteration=spec.matching.iterations, values=tuple(1.0 + c / 10 for c in range(10))
        )
        if isinstance(spec.matching, ClassMatching)
        else None,
        soft_labels=invented_labels() if spec.synthetic.labels.name in SOFT else None,
        clusters=invented_clusters(draw) if spec.synthetic.init.name == "representative" else (),
        deviations=deviations(spec),
        departures=departures_of(loaded),
        notes=("All numbers in this record are invented test data.",),
        environment=Environment(
            ddspec="0.1.0",
            commit="0" * 40,
            python="3.11.9",
            packages={"torch": "2.11.0", "numpy": "2.1.0"},
            system="Linux",
            device="Invented CPU",
            cores=2,
        ),
        spec=text,
        overrides=overrides,
        resolved=toml_of(resolved(spec)),
        plan=plan,
    )


def epochs_of(plan: Plan, member: Member) -> int:
    """Return the epochs that an expert runs."""
    return member.epochs if isinstance(member, ExpertMember) else plan.trajectories.epochs


def toml_of(values: object) -> str:
    """Return resolved values as TOML."""
    return tomli_w.dumps(json.loads(json.dumps(values)))


def invented_evaluations(spec: Spec, draw: random.Random) -> tuple[Evaluated, ...]:
    """Return accuracies that rise with the iterations, and lower ones of random real images."""

    def evaluated(subject: str, iteration: int, mean: float) -> Evaluated:
        values = tuple(round(draw.gauss(mean, 1.2), 2) for _ in range(spec.evaluation.repeats))
        return Evaluated.model_validate(
            {
                "subject": subject,
                "network": "convnet",
                "iteration": iteration,
                "student_lr": 0.0123,
                "values": values,
                "ran_away": 0,
            }
        )

    distilled = [
        evaluated("distilled", i, 73 - 20 * math.exp(-i / 90)) for i in spec.evaluated_iterations()
    ]
    baselines = (
        evaluated("random_real", 0, 52.0),
        evaluated("random_real_expert_labels", 0, 55.0),
    )
    return (*distilled, *baselines)


def invented_series(spec: Spec, draw: random.Random) -> Series:
    """Return series in which the loss falls and the learning rate grows."""
    count, matching = spec.matching.iterations, spec.matching
    if isinstance(matching, ClassMatching):
        return class_matching_series(matching, count, draw)
    if isinstance(matching, Performance):
        return performance_series(matching, count, draw)
    if isinstance(matching, Kernel):
        return kernel_series(matching, count, draw)
    whole = spec.trajectory.type == "sgd"
    starts = [
        draw.uniform(matching.min_start_epoch, matching.max_start_epoch) for _ in range(count)
    ]
    return Series(
        matching_loss=tuple(
            0.4 + 0.55 * math.exp(-i / 80) + draw.gauss(0, 0.02) for i in range(count)
        ),
        intermediate_loss=(0.0,) * count,
        student_lr=tuple(0.01 + 2e-5 * i for i in range(count)),
        gradient_norm=tuple(10 ** draw.uniform(-4, -1.5) for _ in range(count)),
        start_epoch=tuple(float(int(start)) if whole else start for start in starts),
        expert=tuple(draw.randrange(8) for _ in range(count)),
        inner_loss=tuple(2.0 / (1 + start) for start in starts),
        inner_weight=tuple(0.5 + start / 10 for start in starts),
        matched_step=tuple(draw.randint(1, matching.syn_steps) for _ in range(count)),
        guarded=tuple(int(i % 50 == 7) + int(i % 90 == 7) for i in range(count)),
        rate_held=tuple(int(i == 3) for i in range(count)),
    )


def class_matching_series(matching: ClassMatching, count: int, draw: random.Random) -> Series:
    """Return the series of an objective that compares classes, with those of its schedule."""
    empty: dict[str, tuple[float, ...]] = {name: () for name in Series.model_fields}
    scheduled = isinstance(matching, FeatureMatching)
    return Series.model_validate(
        {
            **empty,
            "matching_loss": tuple(300 * math.exp(-i / 80) + draw.random() for i in range(count)),
            "gradient_norm": tuple(draw.uniform(1, 2) for _ in range(count)),
            "guarded": (0,) * count,
            "pixel_steps": tuple(draw.randint(10, 20) for _ in range(count * scheduled)),
            "network_epochs": tuple(draw.randint(90, 200) for _ in range(count * scheduled)),
            "phases_at_bound": (0,) * (count * scheduled),
        }
    )


def performance_series(matching: Performance, count: int, draw: random.Random) -> Series:
    """Return the series of students whose loss on real images falls."""
    empty: dict[str, tuple[float, ...]] = {name: () for name in Series.model_fields}
    return Series.model_validate(
        {
            **empty,
            "matching_loss": tuple(0.4 + math.exp(-i / 80) + draw.random() for i in range(count)),
            "inner_loss": tuple(draw.uniform(0.1, 1) for _ in range(count)),
            "gradient_norm": tuple(draw.uniform(0.1, 0.3) for _ in range(count)),
            "guarded": tuple(int(i % 50 == 7) for i in range(count)),
            "free_steps": tuple(draw.randint(0, matching.free_steps.most) for _ in range(count)),
        }
    )


SOFT = ("expert", "learned")
"""Labels that are probabilities."""


def kernel_series(matching: Kernel, count: int, draw: random.Random) -> Series:
    """Return the series of a regression whose error on real images falls."""
    empty: dict[str, tuple[float, ...]] = {name: () for name in Series.model_fields}
    ages = matching.pool.max_steps
    return Series.model_validate(
        {
            **empty,
            "matching_loss": tuple(0.1 + 0.2 * math.exp(-i / 80) for i in range(count)),
            "gradient_norm": tuple(draw.uniform(0.01, 0.1) for _ in range(count)),
            "guarded": (0,) * count,
            "label_margin": tuple(draw.uniform(0.08, 0.1) for _ in range(count)),
            "kernel_accuracy": tuple(draw.uniform(90, 98) for _ in range(count)),
            "pool_age": tuple(draw.randint(0, ages) for _ in range(count)),
        }
    )


def invented_labels() -> SoftLabels:
    """Return soft labels that mostly give their class a large share."""
    return SoftLabels(
        own=tuple(0.9 - 0.02 * c for c in range(10)),
        other=tuple((c + 1) % 10 for c in range(10)),
        other_share=tuple(0.05 + 0.01 * c for c in range(10)),
    )


def invented_clusters(draw: random.Random) -> tuple[ClusterPicture, ...]:
    """Return two classes of forty images in two clusters."""
    return tuple(
        ClusterPicture(
            label=label,
            x=tuple(draw.gauss(i % 2 * 4, 1) for i in range(40)),
            y=tuple(draw.gauss(0, 1) for _ in range(40)),
            cluster=tuple(i % 2 for i in range(40)),
            chosen=(4, 9),
        )
        for label in (0, 1)
    )


def invented_expert(
    index: int, epochs: int, draw: random.Random, form: str = "sgd"
) -> ExpertRecord:
    """Return an expert whose steps become shorter as it learns."""
    noise = [draw.gauss(0, 1) for _ in range(epochs)]
    steps = tuple(2 * math.exp(-e / 7) + 0.05 * abs(n) for e, n in enumerate(noise))
    return ExpertRecord(
        index=index,
        train_loss=tuple(2.3 * math.exp(-e / 4) for e in range(epochs)),
        train_accuracy=tuple(95 - 80 * math.exp(-e / 3) + n for e, n in enumerate(noise)),
        test_accuracy=tuple(96 - 82 * math.exp(-e / 3) + n for e, n in enumerate(noise)),
        step_length=steps,
        avg_var=sum(step**2 for step in steps) / epochs,
        path_accuracy=tuple(95 - 85 * math.exp(-e / 4) for e in range(epochs + 1))
        if form != "sgd"
        else (),
        curve_loss=(1.2, 0.9) if form == "bezier" else (),
    )


def invented_steps(plan: Plan) -> tuple[StepRecord, ...]:
    """Return a record of every step of the plan; the experts are reused in part."""
    return tuple(
        StepRecord(
            id=step.id,
            kind=step.kind,
            digest=step.digest,
            status="partly reused" if step.kind == "experts" else "computed",
            members=(members := max(1, len(getattr(step, "members", ())))),
            computed=3 if step.kind == "experts" else members,
            seconds=12.5 * (number + 1),
            seconds_when_made=40.0 * (number + 1),
            bytes=100_000 * (number + 1),
            route=step.route,
            mixed_routes=step.kind == "experts",
            estimate=step.estimate,
        )
        for number, step in enumerate(plan.steps)
    )


def png_of(sheet: ImageSheet) -> bytes:
    """Return the PNG of a sheet of random grey values."""
    size = (sheet.columns * sheet.image_width, sheet.rows * sheet.image_height)
    draw = random.Random(sheet.iteration)
    image = Image.frombytes("L", size, draw.randbytes(size[0] * size[1]))
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()

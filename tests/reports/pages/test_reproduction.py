"""The page of a reproduction: verdicts that look different, and how many there are."""

from pathlib import Path

from ddspec.dsl.record.agreement import compare_records
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.reproduction import Reproduction, overall
from ddspec.reports.pages.reproduction import render_reproduction, verdict_counts


def reproduction_of(record: Record, repeated: Record) -> Reproduction:
    numbers = tuple(compare_records(record, repeated, ()))
    return Reproduction(
        origin="report",
        name=record.name,
        title=record.title,
        digest=record.plan.digest,
        date=record.date,
        verdict=overall(numbers),
        numbers=numbers,
        may_differ=(),
        recorded_in=record.environment,
        found_in=record.environment,
        folder=record.plan.folder,
    )


def test_pass_and_fail_look_different(record: Record, tmp_path: Path):
    loss = (0.5, *record.series.matching_loss[1:])
    series = record.series.model_copy(update={"matching_loss": loss})
    reproduction = reproduction_of(record, record.model_copy(update={"series": series}))

    page = render_reproduction(tmp_path, reproduction).read_text()

    passed = len(reproduction.numbers) - 1
    assert page.count('<strong class="fail">FAIL</strong>') == 1
    assert page.count('<strong class="pass">PASS</strong>') == passed
    assert '<span class="mean fail">FAIL</span>' in page
    assert verdict_counts(reproduction) == f"{passed + 1} numbers: {passed} passed, 1 failed."
    assert "3 February 2031" in page

"""The table of published numbers: every verdict from the test, every departure by key."""

from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.results import compare_with_published
from ddspec.reports.pages.published import (
    published_text,
    with_measured,
    write_headers,
    write_published,
)
from ddspec.reports.tables.published import HEADS, published_markdown, published_rows
from tests.reports.invented import invented_record

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


def cells(record: Record, *others: Record) -> dict[str, str]:
    records = [record, *others]
    names = [f"run-{number}" for number in range(len(records))]
    table = published_markdown(published_rows(names, records))
    head, _, row = (line.strip("| ").split(" | ") for line in table.splitlines())
    assert tuple(head) == HEADS
    return dict(zip(head, row, strict=True))


def with_seed(record: Record, seed: int, points: float) -> Record:
    """The same run with another seed, better by some points."""
    compared = record.compared[0]
    better = tuple(value + points for value in compared.measured.values)
    measured = compared.measured.model_copy(
        update={"values": better, "mean": compared.measured.mean + points}
    )
    changes = {
        "resolved": record.resolved.replace("\nseed = 0\n", f"\nseed = {seed}\n", 1),
        "compared": (compare_with_published(compared.expectation, measured),),
    }
    return record.model_copy(update=changes)


def test_a_row_has_the_published_number_its_source_the_test_and_the_departures(record: Record):
    row = cells(record)
    compared = record.compared[0]
    assert f"71.30 {PLUS_MINUS} 1.10 (n = 5), " in row["published"]
    assert "Invented et al., Table 0" in row["published"]
    assert row["measured"].startswith(f"{compared.measured.mean:.2f} {PLUS_MINUS} ")
    assert row["verdict"] == compared.verdict
    assert f"{compared.difference:+.2f}".replace("-", "\N{MINUS SIGN}") in row["difference"]
    assert row["departures"] == (
        "matching.syn_steps = 12 (spec: 10); evaluation.repeats = 4 (spec: 5)"
    )
    assert (row["sets"], row["machine"]) == ("1", record.environment.device)
    assert row["experiment"] == f"[{record.title}](run-0/report.html)"


def test_runs_that_differ_in_their_seed_are_one_row_of_all_their_networks(record: Record):
    other = with_seed(record, 1, 2.0)
    row = cells(record, other)
    mean = record.compared[0].measured.mean
    assert row["sets"] == f"2 ({mean + 1:.2f} {PLUS_MINUS} 1.00)"
    assert row["measured"].endswith(f"(n = {2 * record.compared[0].measured.n})")
    assert float(row["hours"]) == pytest.approx(2 * float(cells(record)["hours"]), abs=0.11)


def test_runs_with_other_settings_are_other_rows(record: Record):
    changed = record.model_copy(
        update={"resolved": record.resolved.replace("syn_steps = 12", "syn_steps = 13")}
    )
    assert changed.resolved != record.resolved
    assert len(published_rows(["a", "b"], [record, changed])) == 2


def test_one_set_is_not_held_against_a_mean_over_several(record: Record):
    over = record.compared[0].expectation.model_copy(update={"over": "sweep"})
    compared = compare_with_published(over, record.compared[0].measured)
    single = record.model_copy(update={"compared": (compared,)})
    assert cells(single)["verdict"] == "not decidable"
    assert PLUS_MINUS not in cells(single)["difference"]
    assert cells(single, with_seed(single, 1, 0.5))["verdict"] in ("agrees", "differs")


def test_texts_of_a_record_do_not_break_the_table(record: Record):
    hostile = record.model_copy(update={"title": "a | b\n<script>"})
    assert cells(hostile)["experiment"] == r"[a \| b &lt;script>](run-0/report.html)"


def test_previews_and_runs_without_published_numbers_have_no_row(record: Record, convex: Record):
    plan = record.plan.model_copy(update={"preview": ("matching.iterations = 2",)})
    assert published_rows(["a", "b"], [convex, record.model_copy(update={"plan": plan})]) == []


def test_readme_has_the_table_and_the_notes_and_is_written_again(run_folder: Path):
    folder = run_folder.parent
    (run_folder / "notes.md").write_text("Fewer steps explain it.\n")
    (folder / "notes.md").write_text("The images are not exact.\n")
    path = write_published(folder)
    text = path.read_text()
    assert path == folder / "README.md"
    assert text == published_text(folder)
    assert f"]({run_folder.name}/report.html) | digits |" in text
    assert text.index("The images are not exact.") < text.index("Fewer steps explain it.")
    assert write_published(folder).read_text() == text


HEADER = """\
# MTT on digits.
# Accuracy:  71.3 +- 1.1 % published (Invented et al., Table 0);
#            not yet run in full with ddspec.
# Cost:      small.
"""


def test_headers_of_specs_say_what_was_measured(tmp_path: Path, run_folder: Path, record: Record):
    specs = tmp_path / "specs" / "invented"
    specs.mkdir(parents=True)
    spec, other = specs / "digits_ipc1.toml", specs / "other.toml"
    spec.write_text(HEADER + record.spec)
    other.write_text(HEADER + record.spec.replace(f'name = "{record.name}"', 'name = "other"'))
    before = other.read_text()
    assert write_headers(run_folder.parent, specs.parent) == [spec]
    measured = record.compared[0].measured
    lines = spec.read_text().splitlines()
    assert lines[:3] + lines[-3:] == [*HEADER.splitlines()[:3], *record.spec.splitlines()[-3:]]
    paragraph = " ".join(
        line.lstrip("# ") for line in lines[3 : lines.index("# Cost:      small.")]
    )
    assert paragraph == (
        f"Measured:  {measured.mean:.1f} +- {measured.std:.1f} % on convnet (n = {measured.n}) "
        "with matching.syn_steps = 12, evaluation.repeats = 4: "
        f"{run_folder.parent.name}/{run_folder.name}"
    )
    assert write_headers(run_folder.parent, specs.parent) == []
    assert other.read_text() == before


def test_a_header_loses_what_no_run_measures_any_more(record: Record):
    (row,) = published_rows(["a"], [record])
    text = HEADER + record.spec
    assert with_measured(with_measured(text, [row, row], "runs"), [], "runs") == text


def test_a_foreign_readme_and_a_folder_without_runs_are_refused(tmp_path: Path, run_folder: Path):
    (run_folder.parent / "README.md").write_text("mine")
    with pytest.raises(RecordError, match="was not written by ddspec"):
        write_published(run_folder.parent)
    assert (run_folder.parent / "README.md").read_text() == "mine"
    with pytest.raises(RecordError, match="no run in"):
        write_published(run_folder)
    with pytest.raises(RecordError, match="there is no folder"):
        write_published(tmp_path / "nowhere")


def test_the_page_of_a_run_says_which_settings_are_not_the_published_ones(record: Record):
    from ddspec.reports.tables.summary import summary_of

    assert summary_of(record).departures == (
        "matching.syn_steps to 12 (spec: 10), evaluation.repeats to 4 (spec: 5)"
    )
    plain = invented_record(record.spec, ())
    assert summary_of(plain).departures == ""


@pytest.mark.parametrize(
    "options", [("--headers", "specs"), ("--index", "--published")], ids=["headers", "two lists"]
)
def test_options_that_would_not_be_read_are_refused(cli, run_folder: Path, options):
    answer = cli("report", run_folder.parent, *options)
    assert answer.returncode == 2
    assert "--published" in answer.stderr
    assert not (run_folder.parent / "README.md").exists()

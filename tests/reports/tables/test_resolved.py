"""Resolved values carry the place in the spec that they came from."""

from ddspec.api import resolved_toml
from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.record.record import Record
from ddspec.reports.tables.resolved import resolved_rows


def rows_of(record: Record, text: str):
    loaded = parse_spec(text, "spec.toml")
    resolved = resolved_toml(loaded)
    changed = record.model_copy(update={"spec": text, "resolved": resolved, "overrides": ()})
    return {row.key: row for row in resolved_rows(changed)}


def test_text_that_is_short_for_a_table_is_found_in_the_spec(record: Record):
    text = 'ddspec = 1\nname = "short"\ntrajectory = "convex"\n' + "".join(
        f"{line}\n"
        for line in record.spec.splitlines()
        if not line.startswith(("ddspec =", "name =", "title =", "[trajectory]", "type ="))
        or line.startswith('name = "digits"')
    )
    rows = rows_of(record, text)

    assert (rows["trajectory.type"].origin, rows["trajectory.type"].line) == ("spec", 3)
    assert rows["trajectory.waypoints"].origin == "default"
    assert rows["synthetic.init.name"].origin == "spec"

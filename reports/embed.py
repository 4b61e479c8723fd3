"""The record inside the page, so that the page alone is enough to run the same again.

Both parts are JSON in <script> elements that no browser executes: `record` is the record,
`resolved-spec` the resolved TOML as one JSON string. `<`, `>` and `&` are written as \\u escapes,
so no text in them can end the element.
"""

import json
from html.parser import HTMLParser

from markupsafe import Markup
from pydantic import ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record

ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def json_for_script(text: str) -> Markup:
    """JSON text that may stand in a <script> element, whatever its strings hold."""
    # Outside of strings JSON has none of these characters, so a plain replacement is right.
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # Just made safe: nothing in it can open or close a tag.
    return Markup(text)


def embedded_record(page: str) -> Record:
    """The record in a page. Raises RecordError where there is none, or a damaged one."""
    text = script_of(page, "record")
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(f"the record in the page is damaged: {first_fault(error)}") from None


def embedded_resolved(page: str) -> str:
    """The resolved spec in a page, as TOML."""
    try:
        found = json.loads(script_of(page, "resolved-spec"))
    except ValueError:
        found = None
    if not isinstance(found, str):
        raise RecordError("the resolved spec in the page is damaged")
    return found


def first_fault(error: ValidationError) -> str:
    """Where the first fault of a record is, and what."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]


def script_of(page: str, name: str) -> str:
    """Text of the <script> element with that id."""
    finder = ScriptFinder(name)
    finder.feed(page)
    finder.close()
    if finder.found is None:
        raise RecordError(
            f"the page has no embedded `{name}`", hint="a report.html of ddspec carries one"
        )
    return finder.found


class ScriptFinder(HTMLParser):
    """Collects the text of one <script> element."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.inside = False
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens where the id is the one wanted; the first such element counts."""
        if tag == "script" and ("id", self.name) in attrs and self.found is None:
            self.inside, self.found = True, ""

    def handle_endtag(self, tag: str) -> None:
        """Closes."""
        if tag == "script":
            self.inside = False

    def handle_data(self, data: str) -> None:
        """Keeps what stands between."""
        if self.inside:
            self.found = (self.found or "") + data

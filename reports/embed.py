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
    """Return JSON text that is safe inside a <script> element, whatever its strings hold."""
    # Outside of strings JSON has none of these characters, so a plain replacement is right.
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # It was made safe just now: nothing in it can open or close a tag.
    return Markup(text)


def embedded_record(page: str) -> Record:
    """Return the record in a page; raise RecordError if it is missing or damaged."""
    text = script_text(page, "record")
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(f"the record in the page is damaged: {first_error(error)}") from None


def embedded_resolved_spec(page: str) -> str:
    """Return the resolved spec in a page, as TOML."""
    try:
        text = json.loads(script_text(page, "resolved-spec"))
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise RecordError("the resolved spec in the page is damaged")
    return text


def first_error(error: ValidationError) -> str:
    """Return the first fault of a record: where it is, and what it is."""
    fault = error.errors(include_url=False, include_input=False)[0]
    location = ".".join(str(part) for part in fault["loc"])
    return f"{location}: {fault['msg']}" if location else fault["msg"]


def script_text(page: str, name: str) -> str:
    """Return the text of the <script> element with that id."""
    finder = ScriptFinder(name)
    finder.feed(page)
    finder.close()
    if finder.found is None:
        raise RecordError(
            f"the page has no embedded `{name}`", hint="every report.html of ddspec carries one"
        )
    return finder.found


class ScriptFinder(HTMLParser):
    """A parser that collects the text of one <script> element."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.inside = False
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start to collect at the first element with the wanted id."""
        if tag == "script" and ("id", self.name) in attrs and self.found is None:
            self.inside, self.found = True, ""

    def handle_endtag(self, tag: str) -> None:
        """Stop collecting."""
        if tag == "script":
            self.inside = False

    def handle_data(self, data: str) -> None:
        """Collect the text in between."""
        if self.inside:
            self.found = (self.found or "") + data

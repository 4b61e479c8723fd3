"""The record embedded in a page, so that the page alone is enough to repeat the run.

A page holds JSON in two <script> elements that browsers do not execute: the element
with id `record` holds the record, the one with id `resolved-spec` the resolved spec,
TOML in one JSON string. `<`, `>` and `&` are written as \\u escapes, so no text in the
JSON can end its element.
"""

import json

from markupsafe import Markup
from pydantic import ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record

ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def json_for_script(text: str) -> Markup:
    """Return JSON text with `<`, `>` and `&` escaped, safe in a <script> element."""
    # JSON has these characters only in its strings, where a \u escape means the same.
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # Markup keeps the template from escaping the text a second time.
    return Markup(text)


def embedded_record(page: str) -> Record:
    """Return the record embedded in a page.

    Raises RecordError if it is missing or damaged.
    """
    text = script_text(page, "record")
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise RecordError(f"the record in the page is damaged: {first_error(error)}") from None


def embedded_resolved_spec(page: str) -> str:
    """Return the resolved spec embedded in a page, as TOML.

    Raises RecordError if it is missing or damaged.
    """
    try:
        text = json.loads(script_text(page, "resolved-spec"))
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise RecordError("the resolved spec in the page is damaged")
    return text


def first_error(error: ValidationError) -> str:
    """Return the first validation error, after the dotted path of its field."""
    details = error.errors(include_url=False, include_input=False)[0]
    location = ".".join(str(part) for part in details["loc"])
    return f"{location}: {details['msg']}" if location else details["msg"]


def script_text(page: str, name: str) -> str:
    """Return the text of the first <script> element whose id is `name`.

    Every part of the page is looked at once, so a page of any content takes time linear in its
    size; an HTML parser takes quadratic time for some. Raises RecordError if the page has no
    such element.
    """
    at = page.find("<script")
    while at >= 0:
        opened = page.find(">", at)
        closed = page.find("</script>", opened) if opened >= 0 else -1
        if closed < 0:
            break
        if f' id="{name}"' in page[at:opened]:
            return page[opened + 1 : closed]
        at = page.find("<script", closed)
    raise RecordError(
        f"the page has no embedded `{name}`", hint="every report.html written by ddspec has one"
    )

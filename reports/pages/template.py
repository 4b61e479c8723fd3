"""Parts common to all pages: templates, the one script, and the policy on scripts."""

import base64
import hashlib
import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

SCRIPT = "page.js"


@cache
def page_template(name: str) -> Template:
    """Return the template of that name, which escapes all text of a record.

    Templates get the page's script as `script`. As `policy` they get what a browser may load and
    run: that script, by its hash, pictures in the page, and nothing else.
    """
    loader = PackageLoader("ddspec.reports", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, _, _ = loader.get_source(environment, SCRIPT)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    def policy(pictures_beside: bool) -> Markup:
        allowed = {
            "default-src": "'none'",
            "img-src": "data: 'self' file:" if pictures_beside else "data:",
            "style-src": "'unsafe-inline'",
            "script-src": f"'sha256-{hashed}'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        return Markup("; ".join(f"{kind} {sources}" for kind, sources in allowed.items()))

    environment.filters["code_marks"] = code_marks
    # Both are our own and contain nothing of a record.
    environment.globals.update(script=Markup(script), policy=policy)
    return environment.get_template(name)


def code_marks(text: str) -> Markup:
    """Return a text whose parts between backticks are shown as code."""
    parts = re.split(r"`([^`]*)`", text)
    marked = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    ]
    return Markup("").join(marked)

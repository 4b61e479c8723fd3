"""The model class of spec, plan and record: frozen, strict, no unknown keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

Texts = Annotated[tuple[str, ...], Strict(False)]
"""Texts in a document; lists are accepted because JSON and TOML have no tuples."""


class Document(BaseModel):
    """A value that may come from outside, and so is validated completely."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

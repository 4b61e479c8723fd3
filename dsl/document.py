"""What spec, plan and record have in common: frozen, strict, and closed to unknown keys."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A value that comes from disk or from a stranger, and so is checked in full."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

"""The parts of a spec that an installed package adds, with the identity of its code.

Their keys are those that the package declares, so these tables take any key here. The loader
checks the keys against the declaration, and fills in defaults, version and hash: a document that
was checked says by itself which code it means, and can be read without the package.
"""

from collections.abc import Callable
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import DDSPEC, key

OWNED = r"[a-z][a-z0-9_-]{0,49}/[a-z][a-z0-9_.-]{0,79}"
"""A name with its owner, such as mylab/lp."""

OWNED_WORDS = "a name of an installed extension, such as mylab/lp"

OwnedName = Annotated[str, Field(pattern=rf"^{OWNED}$")]

CODE_WORDS = "32 hex digits"


def no_other_value(value: Any) -> Any:
    """Refuse what no key of an extension may hold."""
    if isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
        return value
    raise PydanticCustomError("no_scalar", "not a boolean, a finite number or a string")


Scalar = Annotated[bool | int | float | str, BeforeValidator(no_other_value)]
"""What a key of an extension may hold."""


class ExtensionPart(Document):
    """A part of the language that an installed package adds."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    version: str | None = key(None, source=DDSPEC, min_length=1, max_length=100)
    """For a part of an extension: version of the package. If absent, the installed one;
    another one than is installed is refused."""
    code: str | None = key(None, source=DDSPEC, pattern=DIGEST, pattern_words=CODE_WORDS)
    """For a part of an extension: hash of the package's files. If absent, that of the
    installed ones; any other is refused."""

    @property
    def part(self) -> str:
        """The part's name with its owner."""
        return str(getattr(self, "name", ""))

    @property
    def owner(self) -> str:
        """The owner alone."""
        return self.part.partition("/")[0]

    @property
    def keys(self) -> dict[str, Scalar]:
        """The values of the keys that the package declares."""
        return dict(self.__pydantic_extra__)


class ExtensionLoss(ExtensionPart):
    """A matching loss of an extension, with the keys that it declares."""

    name: str = key(source=DDSPEC, pattern=rf"^{OWNED}$", pattern_words=OWNED_WORDS)
    """Owner and name, such as mylab/lp."""


class ExtensionNetwork(ExtensionPart):
    """A network of an extension, with the keys that it declares."""

    name: str = key(source=DDSPEC, pattern=rf"^{OWNED}$", pattern_words=OWNED_WORDS)
    """Owner and name, such as mylab/wide."""


class ExtensionReader(ExtensionPart):
    """A reader of a dataset of an extension."""

    name: str = key(source=DDSPEC, pattern=rf"^{OWNED}$", pattern_words=OWNED_WORDS)
    """Owner and name, such as mylab/pets."""


def kind_of_part(tag: str) -> Callable[[Any], str]:
    """Return a function that tells parts of extensions from the language's own.

    `tag` is the key that names a part. The function takes a table or a document.
    """

    def kind(value: Any) -> str:
        named = value.get(tag) if isinstance(value, dict) else getattr(value, tag, None)
        return EXTENSION if isinstance(named, str) and "/" in named else LANGUAGE_ITSELF

    return kind


LANGUAGE_ITSELF, EXTENSION = "language", "extension"

"""The publications that a spec uses, as `ddspec cite` prints them.

The name of an alternative (`init = "correct"`), an optional ingredient that is present
(`[matching.perturbation]`) and an option that is switched on belong to the paper that the
language gives as their source. Numbers rarely do: a learning rate that a paper happened to use is
not a method, but a set of partitioned images is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ddspec.dsl.facts.dataset_publications import DATASETS
from ddspec.dsl.facts.publications import (
    METHODS_BY_ARXIV,
    METHODS_BY_KEY,
    Publication,
)
from ddspec.dsl.keys.declare import (
    AST,
    ATT,
    DATM,
    DC,
    DD_RANKING,
    DSA,
    FREPO,
    MTT,
    RAT_BPTT,
    TESLA,
)
from ddspec.dsl.spec.catalogue import tag_of
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.synthetic import Imported
from ddspec.dsl.terms import Protocol
from ddspec.dsl.toml_text import default_text

PROTOCOL_SOURCES: Mapping[Protocol, str] = {
    "mtt": MTT,
    "ast": AST,
    "datm": DATM,
    "dc": DC,
    "dd_ranking": DD_RANKING,
    "rat_bptt": RAT_BPTT,
    "frepo": FREPO,
}
"""The paper behind each evaluation protocol."""

CHOICE_SOURCES: Mapping[tuple[str, str], str] = {
    ("matching.gradient", "tesla"): TESLA,
    ("matching.matched_step", "nearest"): ATT,
}
"""Choices of a key that come from another paper than the key itself."""

COUNTS_OF_METHODS = ("synthetic.partition",)
"""Keys whose number, if it is not the default, makes a method."""

CORESETS: Mapping[str, str] = {
    "herding": "welling2009herding",
    "k_center": "sener2018coreset",
    "forgetting": "toneva2019forgetting",
}
"""Publications of the coresets; the language names papers that compare with them."""

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Citation:
    """A publication, and the settings of a spec that make it one to cite."""

    publication: Publication
    uses: tuple[str, ...]

    @property
    def bibtex(self) -> str:
        """The entry of BibTeX below a comment that names the settings."""
        return f"% {', '.join(self.uses)}\n{self.publication.bibtex}"


def citations(spec: Spec) -> tuple[Citation, ...]:
    """Return what to cite for a spec: its methods, then its dataset."""
    uses: dict[Publication, list[str]] = {}
    for publication, use in [*methods_used(spec), *datasets_used(spec)]:
        uses.setdefault(publication, []).append(use)
    return tuple(
        Citation(publication, tuple(dict.fromkeys(names))) for publication, names in uses.items()
    )


def bibliography(specs: Sequence[Spec], version: str) -> str:
    """Return what to cite for specs that were run with a version of ddspec, as BibTeX.

    Comments name what is not known here: the sources of images and artifacts of your own.
    """
    uses: dict[Publication, tuple[str, ...]] = {}
    for spec in specs:
        for citation in citations(spec):
            uses[citation.publication] = (*uses.get(citation.publication, ()), *citation.uses)
    entries = [Citation(p, tuple(dict.fromkeys(names))).bibtex for p, names in uses.items()]
    unknown = dict.fromkeys(text for spec in specs for text in not_cited(spec))
    entries += [f"% {text}: please cite their source" for text in unknown]
    entries.append(
        "@software{ddspec,\n  title = {{ddspec}},\n  author = {{The ddspec authors}},\n"
        f"  version = {{{version}}},\n}}"
    )
    return "\n\n".join(entries)


def not_cited(spec: Spec) -> Iterator[str]:
    """Yield what a spec uses whose source is not known here."""
    if spec.dataset.reader is not None:
        yield f"the dataset {spec.dataset.name}"
    if spec.dataset.name == "folder":
        yield f"the images of the folder {default_text(spec.dataset.root)}"
    if spec.experts.imported is not None:
        yield "the imported experts"
    if isinstance(spec.synthetic.init, Imported):
        yield "the imported synthetic set"


def methods_used(spec: Spec) -> Iterator[tuple[Publication, str]]:
    """Yield every publication of a method with a setting that uses it."""
    matches = spec.matching.iterations > 0
    tables: dict[str, BaseModel] = {
        "matching": spec.matching,
        "trajectory": spec.trajectory,
        "experts": spec.experts,
        "synthetic": spec.synthetic,
    }
    if not matches:
        del tables["matching"]
    if not spec.matches_experts:
        del tables["trajectory"]
    if not spec.expert_numbers:
        del tables["experts"]
    for path, table in tables.items():
        yield from used_in(table, path)
    if spec.augmentation.families and (matches or spec.expert_numbers):
        yield from cited(DSA, "augmentation.families")
    elif spec.evaluation_augmentation.families:
        yield from cited(DSA, "evaluation.augmentation")
    protocol = spec.evaluation.protocol
    yield from cited(PROTOCOL_SOURCES[protocol], setting("evaluation.protocol", protocol))


def used_in(table: BaseModel, path: str) -> Iterator[tuple[Publication, str]]:
    """Yield the publications behind a table and the tables in it, with the settings.

    Values at their defaults are plain MTT, which the objective names already.
    """
    for name, field in type(table).model_fields.items():
        key, value = f"{path}.{name}", getattr(table, name)
        source = source_of(field.json_schema_extra)
        if isinstance(value, BaseModel):
            if field.default is None:
                yield from cited(source, key)
            yield from used_in(value, key)
        elif (key, value) in CHOICE_SOURCES:
            yield from cited(CHOICE_SOURCES[key, value], setting(key, value))
        elif name == tag_of(path):
            yield from used_by_tag(key, value, source)
        elif source == MTT or value == field.default:
            continue
        elif field.default is None or value is True or key in COUNTS_OF_METHODS:
            yield from cited(source, key)


def used_by_tag(key: str, value: str, source: str) -> Iterator[tuple[Publication, str]]:
    """Yield the publications behind the chosen alternative of a table."""
    use = setting(key, value)
    if key == "synthetic.init.name" and value in CORESETS:
        yield METHODS_BY_KEY[CORESETS[value]], use
    elif key == "matching.objective" or source != MTT:
        yield from cited(source, use)
    if (key, value) == ("experts.optimizer.name", "gsam"):
        yield METHODS_BY_KEY["zhuang2022gsam"], use


def datasets_used(spec: Spec) -> Iterator[tuple[Publication, str]]:
    """Yield the publications of the spec's dataset."""
    for publication in DATASETS.get(spec.dataset.name, ()):
        yield publication, setting("dataset.name", spec.dataset.name)


def cited(source: str, use: str) -> Iterator[tuple[Publication, str]]:
    """Yield the publication that a source of the language names, if it names one."""
    match = ARXIV.search(source)
    if match is not None:
        yield METHODS_BY_ARXIV[match[1]], use


def source_of(extra: Any) -> str:
    """Return the source that a key was declared with."""
    return str(extra.get("source", "")) if isinstance(extra, dict) else ""


def setting(key: str, value: object) -> str:
    """Return a setting as a line of a spec would have it."""
    return f"{key} = {default_text(value)}"

"""What to cite for a spec."""

import re
from pathlib import Path

import pytest

from ddspec.dsl.facts.dataset_publications import DATASETS
from ddspec.dsl.facts.publications import METHODS, METHODS_BY_ARXIV
from ddspec.dsl.parsing.loader import LoadedSweep, load_spec_or_sweep, parse_spec
from ddspec.dsl.reference.citations import ARXIV, bibliography, citations
from ddspec.dsl.spec.catalogue import catalogue

ROOT = Path(__file__).parents[3]
SPECS = sorted((ROOT / "specs").rglob("*.toml"))


def specs_in(path):
    loaded = load_spec_or_sweep(path)
    runs = [m.loaded for m in loaded.members] if isinstance(loaded, LoadedSweep) else [loaded]
    return [run.spec for run in runs]


def keys_cited(name):
    return [citation.publication.key for citation in citations(specs_in(ROOT / "specs" / name)[0])]


@pytest.mark.parametrize("path", SPECS, ids=lambda p: str(p.relative_to(ROOT / "specs")))
def test_every_shipped_spec_cites_the_paper_that_its_header_names(path):
    title = next(line for line in path.read_text().splitlines() if line.startswith("# "))
    cited = {c.publication.arxiv for spec in specs_in(path) for c in citations(spec)}
    assert set(ARXIV.findall(title)) <= cited


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mtt/cifar10_ipc10.toml", {"cazenavette2022mtt", "zhao2021dsa", "krizhevsky2009cifar"}),
        (
            "dm/cifar10_ipc10.toml",
            {"zhao2023dm", "zhao2021dsa", "cazenavette2022mtt", "krizhevsky2009cifar"},
        ),
        ("dc/mnist_ipc1.toml", {"zhao2021dc", "cazenavette2022mtt", "lecun1998mnist"}),
        (
            "ftd/imagenette_ipc1.toml",
            {
                "cazenavette2022mtt",
                "du2023ftd",
                "zhuang2022gsam",
                "zhao2021dsa",
                "deng2009imagenet",
            },
        ),
        (
            "datm/cifar10_ipc10.toml",
            {
                "cazenavette2022mtt",
                "guo2024datm",
                "du2023ftd",
                "zhuang2022gsam",
                "zhao2021dsa",
                "krizhevsky2009cifar",
            },
        ),
        (
            "herding/cifar10_ipc10.toml",
            {"welling2009herding", "cazenavette2022mtt", "zhao2021dsa", "krizhevsky2009cifar"},
        ),
        (
            "random/cifar10_ipc10.toml",
            {"cazenavette2022mtt", "zhao2021dsa", "krizhevsky2009cifar"},
        ),
    ],
)
def test_spec_cites_what_it_uses_and_nothing_else(name, keys):
    assert set(keys_cited(name)) == keys


def test_both_filters_of_pad_are_cited_as_its():
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[network]\ndepth = 2\n'
    text += "[synthetic]\nipc = 1\n"
    part = "[matching]\nparameters = { drop = 0.5 }\n"
    order = "[experts.data_order]\nfirst_share = 0.75\nall_from_epoch = 4\n"
    plain, partial, ordered = (
        {c.publication.key for c in citations(parse_spec(text + more, "").spec)}
        for more in ("", part, order)
    )
    assert partial - plain == {"li2024pad"}
    assert ordered - plain == {"li2024pad", "paul2021datadiet"}


def test_specs_of_a_sweep_share_one_bibliography():
    text = bibliography(specs_in(ROOT / "specs" / "ablation_mct_digits.toml"), "1.2")
    assert text.count("@misc{zhong2024mct,") == 1
    assert text.count("@misc{alpaydin1998digits,") == 1
    assert "@software{ddspec,\n" in text
    assert "version = {1.2}" in text


def test_images_of_your_own_are_named_as_not_cited():
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "folder"\nroot = "pets"\n[synthetic]\nipc = 1'
    assert '% the images of the folder "pets": ' in bibliography([parse_spec(text, "").spec], "1")


def test_imported_artifacts_are_named_as_not_cited():
    text = (
        'ddspec = 1\nname = "x"\n[dataset]\nname = "mnist"\n[synthetic]\nipc = 1\n'
        f'init = {{ name = "imported", set = "{"0" * 32}" }}'
    )
    assert "% the imported synthetic set: " in bibliography([parse_spec(text, "").spec], "1")


def test_methods_stand_before_datasets_and_none_twice():
    keys = keys_cited("ast/imagenette_ipc10.toml")
    assert len(keys) == len(set(keys))
    assert keys[-1] == "deng2009imagenet"
    assert keys[0] == "cazenavette2022mtt"


def test_every_source_of_the_language_is_known():
    sources = {number for key in catalogue().values() for number in ARXIV.findall(key.source)}
    assert sources
    assert sources <= set(METHODS_BY_ARXIV)


def test_entries_have_keys_of_their_own_and_balanced_braces():
    published = {*METHODS, *(p for papers in DATASETS.values() for p in papers)}
    assert len({publication.key for publication in published}) == len(published)
    for publication in published:
        text = publication.bibtex
        assert re.match(rf"@{publication.kind}\{{{publication.key},\n", text)
        assert text.count("{") == text.count("}")
        assert text.isascii()
        assert publication.authors


def test_bibtex_of_an_entry():
    loaded = parse_spec(
        'ddspec = 1\nname = "x"\n[dataset]\nname = "mnist"\n[synthetic]\nipc = 1', ""
    )
    assert citations(loaded.spec)[-1].bibtex == (
        '% dataset.name = "mnist"\n'
        "@article{lecun1998mnist,\n"
        "  title = {{Gradient-Based Learning Applied to Document Recognition}},\n"
        "  author = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},\n"
        "  journal = {Proceedings of the IEEE},\n"
        "  pages = {2278--2324},\n"
        "  year = {1998},\n"
        "}"
    )

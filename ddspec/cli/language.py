"""Commands on the language: shipped and new specs, the schema, explanations."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ddspec.api import DEFAULT_STORE
from ddspec.cli.errors import WRONG_USAGE, exit_on_error, fail
from ddspec.cli.options import StoreFolder
from ddspec.cli.printing import print_json, print_lines, print_path, print_stderr, print_text
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.terms import DatasetName, Protocol


def shipped_names(begun: str) -> list[str]:
    """Return the shipped specs whose names begin so, for the shell."""
    from ddspec.shipped import shipped

    return sorted(name for name in shipped() if name.startswith(begun))


def subjects(begun: str) -> list[str]:
    """Return the codes and keys that begin so, for the shell."""
    from ddspec.dsl.reference.explain import subjects

    return [subject for subject in subjects() if subject.startswith(begun)]


def new_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Name of a shipped spec; without it, all are listed.",
            autocompletion=shipped_names,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="File to write; default: the end of NAME, with .toml.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Write a spec for this folder of images, fitted to what is in it.",
        ),
    ] = None,
    for_set: Annotated[
        str | None,
        typer.Option(
            "--for-set",
            metavar="HASH",
            help="Write a spec that evaluates this set, which ddspec import printed.",
        ),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(
            "--dataset",
            help="List the specs for this dataset. With --for-set: the dataset that the set was "
            "made for.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="List the specs of this method, for example mct."),
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="With --for-set: how networks are trained.")
    ] = "mtt",
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """List the shipped specs, or write a spec.

    Copies a shipped spec, or writes one for a folder of your own images or for a synthetic
    set.
    """
    from ddspec.cli.texts.columns import columns
    from ddspec.dsl.atomic_write import write_text
    from ddspec.shipped import chosen, copy_of, listing_rows, shipped

    specs = shipped()
    if sum(given is not None for given in (name, images, for_set)) > 1:
        fail(
            "more than one of a shipped spec, --images and --for-set was given",
            "give one of them",
            WRONG_USAGE,
        )
    if name is not None and name not in specs:
        fail(f"no shipped spec is named {name!r}", "ddspec new lists all of them", WRONG_USAGE)
    if name is not None:
        target = to or Path(f"{name.rpartition('/')[2]}.toml")
    elif images is not None:
        target = to or Path(f"{resolved(images).name}.toml")
    elif for_set is not None:
        target = to or Path(f"set_{for_set[:8]}.toml")
    else:
        listed = chosen(specs.values(), dataset, method)
        if not listed:
            fail(
                "no shipped spec is of that dataset and method",
                "ddspec new lists all of them",
                WRONG_USAGE,
            )
        print_lines(columns(listing_rows(listed)))
        return
    if target.exists() or target.is_symlink():
        fail(f"{target} already exists", "give another file by --to", WRONG_USAGE)
    with exit_on_error():
        if images is not None:
            from ddspec.image_specs import spec_for_images

            write_text(target, spec_for_images(resolved(images)))
            begin = shlex.join(
                ["ddspec", "run", str(target), "--preview", "--data", str(images.parent)]
            )
            print_stderr(f"begin with: {begin}")
        elif for_set is not None:
            from ddspec.set_specs import spec_for_stored_set

            write_text(target, spec_for_stored_set(for_set, dataset, protocol, store))
        elif name is not None:
            write_text(target, copy_of(specs[name]))
        print_path(target)


def schema_command() -> None:
    """Print the JSON Schema of specs, for use in editors."""
    from ddspec.dsl.reference.schema import json_schema

    print_json(json_schema(), indent=2)


def explain_command(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE|KEY",
            help="For example syn_steps or images.lr; without it, all are listed.",
            autocompletion=subjects,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Explain a code, a key, a table, or an extension."""
    from ddspec.dsl.reference.explain import explain, list_of_subjects, near

    if subject is None:
        print_text(list_of_subjects())
        return
    with exit_on_error():
        explanation = explain(subject)
    if explanation is None:
        similar = ", ".join(near(subject))
        hint = f"similar: {similar}" if similar else ""
        fail(f"{subject!r} is neither an error code nor a key", hint, WRONG_USAGE)
    print_text(explanation)

"""List the packages; everything else about the build is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("dsl", "engine", "reports")
COMMANDS = ("cli", "cli.progress", "cli.texts", "functions", "trackers", "verification")

setup(
    packages=[
        "ddspec",
        *(f"ddspec.{folder}" for folder in COMMANDS),
        *(f"ddspec.{folder}" for folder in FOLDERS),
        *(f"ddspec.{folder}.{name}" for folder in FOLDERS for name in find_packages(folder)),
        "ddspec.reports.templates",
        "ddspec.specs",
    ]
)

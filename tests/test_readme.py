"""The README does what it says: its spec, its error, and its way to a report of one's own images."""

import random
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

README = (Path(__file__).parent.parent / "README.md").read_text()
SET_UP = 3
"""Commands of the set-up before the first of ddspec: an environment, its activation, pip."""


def block_after(words: str, language: str) -> str:
    """The first code block of a language after some words of the README."""
    fence = re.search(rf"```{language}\n(.*?)```", README[README.index(words) :], re.DOTALL)
    assert fence is not None
    return fence[1]


def test_spec_of_the_readme_has_no_errors(cli):
    Path("mine.toml").write_text(block_after("## A spec", "toml"))
    answer = cli("check", "mine.toml")
    assert (answer.returncode, answer.stdout) == (0, "mine.toml: no errors\n")


def test_error_in_the_readme_is_the_one_that_its_spec_gives(cli):
    shown = block_after("an error tells how to mend it", "text").split("$ ")[1].splitlines()[1:]
    spec = block_after("## A spec", "toml")
    Path("mine.toml").write_text(spec.replace("syn_steps", "syn_stpes"))
    answer = cli("check", "mine.toml").stdout
    number = spec[: spec.index("syn_steps")].count("\n") + 1
    assert f"mine.toml:{number}:1" in answer
    in_order = [line.strip() for line in shown]
    assert all(line in answer for line in (in_order[0], in_order[-1]))
    assert in_order[1].startswith("--> mine.toml:")
    assert in_order[1] == f"--> mine.toml:{number}:1"


@pytest.mark.slow
def test_sixty_images_reach_a_report_in_at_most_eight_commands_and_ten_minutes(tmp_path: Path):
    draw_sixty_pictures(tmp_path / "pictures" / "shapes")
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = begin.ru_utime + begin.ru_stime
    commands = block_after("**Your own images**", "sh").splitlines()
    assert SET_UP + len(commands) <= 8
    for command in commands:
        line = command.replace("ddspec", f"{sys.executable} -m ddspec", 1)
        environment = {"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"}
        subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=True)
    # Other tests run beside this one: processor time, not the clock, says what idle cores need.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before < 600
    (page,) = tmp_path.glob("runs/*/report.html")
    assert "3 classes" in page.read_text()


def draw_sixty_pictures(folder: Path) -> None:
    """Draw twenty photographs each of three shapes, of different sizes."""
    chance = random.Random(0)
    for shape, corners in {"circle": 32, "square": 4, "triangle": 3}.items():
        (folder / shape).mkdir(parents=True)
        for number in range(20):
            width, height = chance.randint(80, 120), chance.randint(60, 90)
            background, colour = (tuple(chance.choices(range(256), k=3)) for _ in range(2))
            image = Image.new("RGB", (width, height), background)
            circle = (width // 2, height // 2, chance.randint(15, 28))
            ImageDraw.Draw(image).regular_polygon(circle, corners, chance.randint(0, 90), colour)
            image.save(folder / shape / f"{number:02}.jpg")

import base64
import hashlib
import io
import json
import os
import platform
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Outcome, Record, Results
from ddspec.dsl.record.series import COUNTED_SERIES, Series
from ddspec.reports.embed import embedded_record, embedded_resolved_spec, json_for_script
from ddspec.reports.figures import gallery as sheets
from ddspec.reports.pages.run import render_run, run_html
from tests.reports.invented import invented_record, png_of

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"
EMPTY = Series.model_validate({name: () for name in Series.model_fields})
LOADING = {"src", "srcset", "href", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """Elements, their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if not self.inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page(record: Record, images: dict[str, bytes]) -> str:
    return run_html(record, images)


def test_rendering_twice_gives_the_same_bytes(run_folder: Path):
    first = render_run(run_folder).read_bytes()
    second = render_run(run_folder).read_bytes()

    assert first == second
    assert {path.name for path in run_folder.iterdir()} == {
        "figures",
        "images",
        "record.json",
        "report.html",
    }


def test_page_gives_back_record_and_resolved_spec(page: str, record: Record):
    assert embedded_record(page) == record
    assert embedded_resolved_spec(page) == record.resolved


def test_embedded_json_has_no_character_of_a_tag():
    text = json_for_script(json.dumps(HOSTILE))

    assert not set("<>&") & set(text)
    assert json.loads(text) == HOSTILE


def test_hostile_texts_appear_as_text(record: Record, images: dict[str, bytes]):
    facts = record.dataset.model_copy(update={"class_names": (HOSTILE,) * 10})
    expectation = record.compared[0].expectation.model_copy(update={"source": HOSTILE})
    hostile = record.model_copy(
        update={
            "title": HOSTILE,
            "notes": (HOSTILE,),
            "dataset": facts,
            "spec": f"# {HOSTILE}\n{record.spec}",
            "resolved": f"# {HOSTILE}\n{record.resolved}",
            "overrides": (f"title={HOSTILE}",),
            "outcome": Outcome(status="diverged", iteration=7, cause=HOSTILE, advice=HOSTILE),
            "compared": (record.compared[0].model_copy(update={"expectation": expectation}),),
        }
    )

    text = run_html(hostile, images)
    page = Page(text)

    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    numbers = [attrs for attrs in scripts if attrs.get("class") == "numbers"]
    others = [attrs for attrs in scripts if attrs not in numbers]
    assert [attrs.get("id") for attrs in others] == ["record", "resolved-spec", None]
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert not any(attrs.get("src") == "x" for _, attrs in page.elements)
    assert page.text.count(HOSTILE) >= 16
    assert embedded_record(text) == hostile
    assert embedded_resolved_spec(text) == hostile.resolved


def test_page_loads_nothing_and_runs_its_own_script_alone(page: str):
    parsed = Page(page)
    for tag, attrs in parsed.elements:
        for name, value in attrs.items():
            if name.rpartition(":")[2] in LOADING:
                assert value is not None and value.startswith(("data:", "#")), (tag, name)
        if tag == "script" and attrs:
            assert attrs["type"] in ("application/json", "text/plain")
    assert page.count("<script>") == 1
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert not re.search(r"@import|url\((?!#)", page)
    policy = next(a for t, a in parsed.elements if a.get("http-equiv"))
    assert policy["content"].startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_page_names_no_machine(run_folder: Path):
    text = render_run(run_folder).read_text()

    assert str(run_folder.parent) not in text
    assert str(Path.home()) not in text
    assert not platform.node() or platform.node() not in text


def test_every_picture_and_table_says_what_it_is(page: str):
    elements = Page(page).elements
    tags = [tag for tag, _ in elements]
    regions = [a["aria-label"] for _, a in elements if a.get("role") == "region"]

    assert all(attrs["alt"] for tag, attrs in elements if tag == "img")
    assert tags.count("caption") == tags.count("table")
    assert len(regions) == len(set(regions))
    assert all(a.get("tabindex") == "0" for _, a in elements if a.get("role") == "region")
    assert tags.count("main") == 1 and tags.count("h1") == 1


def test_links_inside_the_page_lead_somewhere(page: str):
    elements = Page(page).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    links = {a["href"][1:] for t, a in elements if t == "a" and a["href"].startswith("#")}

    assert len(ids) == len(set(ids))
    assert links <= set(ids)


def test_verdict_comes_first_and_names_its_choice(page: str, record: Record):
    head = headline(page)

    assert f"{record.results.accuracy.mean:.1f}" in head
    assert "the last iterate, iteration 300" in head
    assert "points against the same number of random real images" in head
    assert "Invented et al., Table 0" in head


def headline(page: str) -> str:
    """The text of the first section, with its pictures' descriptions left out."""
    return Page(page[page.index('aria-labelledby="verdict"') : page.index('id="results"')]).text


def test_first_section_shows_the_images_and_both_gains(page: str, record: Record):
    first = page[page.index('aria-labelledby="verdict"') : page.index('class="facts"')]
    images = [attrs for tag, attrs in Page(first).elements if tag == "img"]

    assert [image["alt"] for image in images] == ["All 10 synthetic images, after 300 iterations"]
    assert "points against its own initial set" in Page(first).text
    assert "points against the same number of random real images" in Page(first).text


def test_caveats_come_before_the_notes_which_are_folded(page: str, record: Record):
    box = page.index("Before believing the numbers")
    notes = page.index("How these numbers were made: 1 note")

    assert box < page.index("One seed: the spread is over 4 networks") < notes
    assert notes < page.index(record.notes[0], notes)
    assert "<details" in page[notes - 100 : notes]


def test_preview_does_not_show_its_accuracy_in_large_type(record: Record, images):
    plan = record.plan.model_copy(update={"preview": ("matching.iterations: 300 -> 3",)})
    text = run_html(record.model_copy(update={"plan": plan}), images)

    assert 'class="mean"' not in text
    assert "It runs" in headline(text)
    assert f"in this preview: {record.results.accuracy.mean:.1f} %" in headline(text)
    assert '<h2 id="results">Accuracies of the preview</h2>' in text
    assert "(result)" not in text
    assert "points against" not in headline(text)
    assert "matching.iterations: 300 \N{RIGHTWARDS ARROW} 3" in headline(text)
    diverged = record.model_copy(update={"plan": plan, "outcome": Outcome(status="diverged")})
    assert "It did not run to its end" in headline(run_html(diverged, images))


def test_page_names_the_command_that_reproduces_it(page: str):
    section = page[page.index('id="reproduce"') : page.index('id="cost"')]

    assert "<code>ddspec reproduce report.html</code>" in section


def test_contents_lead_to_every_section(page: str):
    start = page.index('<nav class="contents"')
    contents = Page(page[start : page.index("</nav>", start)]).elements
    links = [attrs["href"][1:] for tag, attrs in contents if tag == "a"]
    headings = [a["id"] for tag, a in Page(page).elements if tag == "h2"]

    assert links == ["main", *headings[1:]]


def test_head_of_the_page_has_dates_and_methods_in_words(page: str):
    text = Page(page).text

    assert "3 February 2031, 04:05 UTC" in text
    assert "trajectory matching (MTT)" in text
    assert "ingredients none" not in text


@pytest.mark.slow
def test_only_a_spec_as_it_is_follows_the_papers_of_its_ingredients():
    specs = Path(__file__).parents[3] / "specs"
    plain, smoothed = (
        (specs / f"{name}.toml").read_text() for name in ("digits_ipc10", "digits_ast_ipc10")
    )
    words = "No key differs from the paper that it comes from."

    def page(text: str, overrides: tuple[str, ...] = ()) -> str:
        made = invented_record(text, overrides)
        return run_html(made, {sheet.file: png_of(sheet) for sheet in made.sheets})

    assert words in page(smoothed)
    assert words not in page(smoothed, ("evaluation.repeats=4",))
    assert words not in page(plain)


def test_diverged_run_says_when_why_and_what_to_do(record: Record, images: dict[str, bytes]):
    outcome = Outcome(
        status="diverged", iteration=1234, cause="student_lr fell below zero.", advice="Lower it."
    )

    text = Page(run_html(record.model_copy(update={"outcome": outcome}), images)).text

    assert "Diverged at iteration 1,234 of 300." in text
    assert "student_lr fell below zero. What to do: Lower it." in text
    assert "Done:" not in text


def test_run_without_any_result_still_has_a_page(record: Record):
    bare = record.model_copy(
        update={
            "results": Results(
                accuracy=None,
                last=None,
                best_on_test=None,
                per_network={},
                random_real={},
                random_real_expert_labels={},
                expert=None,
                reached=(),
            ),
            "compared": (),
            "steps": (),
            "experts": (),
            "series": EMPTY,
            "evaluations": (),
            "sheets": (),
            "notes": (),
            "outcome": Outcome(status="failed"),
        }
    )

    text = Page(run_html(bare, {})).text

    assert "No accuracy" in text
    assert "The run left no images." in text
    assert "published" not in text[: text.index("No accuracy")]


def test_run_of_bezier_curves_says_what_was_matched(bezier: Record, images: dict[str, bytes]):
    text = Page(run_html(bezier, images)).text
    assert "8, with quadratic Bezier curves" in text
    assert "Accuracy along the Bezier curve" in text
    assert "real numbers along the Bezier curve" in text


def test_convex_run_is_called_so(convex: Record, images: dict[str, bytes]):
    text = Page(run_html(convex, images)).text

    assert "8, with convexified trajectories" in text
    assert "real numbers along the convexified path" in text


def test_spec_to_save_is_the_spec_verbatim(page: str, record: Record):
    (uri,) = [a["href"] for _, a in Page(page).elements if "download" in a]

    assert base64.b64decode(uri.partition(",")[2]).decode() == record.spec


def test_pictures_hold_the_pixels_of_the_sheet(record: Record, images: dict[str, bytes]):
    shown = sheets.gallery(record, images)

    sheet = Image.open(io.BytesIO(images["000300.png"]))
    picture = shown.classes[4].pictures[1]
    cut = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    assert picture.alt == "Class 4: synthetic images, iteration 300"
    assert cut.getchannel("L").tobytes() == sheet.crop((0, 32, 8, 40)).tobytes()
    assert shown.cut == ""


def test_too_many_images_are_cut_and_it_is_said(record: Record):
    (sheet, _) = record.sheets
    wide = sheet.model_copy(update={"columns": 150})
    out = io.BytesIO()
    Image.new("L", (1200, 80)).save(out, format="PNG")

    shown = sheets.gallery(
        record.model_copy(update={"sheets": (wide,)}),
        {wide.file: out.getvalue()},
        most_pixels=100 * 10 * 64,
    )

    assert "the first 100 of 150 images of each class" in shown.cut
    tiled = Image.open(
        io.BytesIO(base64.b64decode(shown.classes[0].pictures[0].uri.partition(",")[2]))
    )
    assert tiled.size == (10 * 9 - 1, 10 * 9 - 1)


def test_saved_iterations_between_are_shown_as_far_as_there_is_room(
    record: Record, images: dict[str, bytes]
):
    first = record.sheets[0]
    every = tuple(
        first.model_copy(update={"file": f"{i}.png", "iteration": i}) for i in range(0, 301, 20)
    )
    changed = record.model_copy(update={"sheets": every})
    same = {sheet.file: images[first.file] for sheet in every}

    roomy = sheets.gallery(changed, same)
    assert len(roomy.iterations) == 2 + sheets.MOST_BETWEEN
    assert (roomy.iterations[0], roomy.iterations[-1], roomy.result) == (0, 300, 300)
    between = [picture.iteration for picture in roomy.classes[0].pictures if picture.between]
    assert between == list(roomy.iterations[1:-1])
    tight = sheets.gallery(changed, same, most_pixels=3 * 10 * 64)
    assert len(tight.iterations) == 3
    assert sheets.gallery(changed, same, most_pixels=1).iterations == (0, 300)


@pytest.mark.slow
def test_pictures_may_stand_in_files_beside_the_page(run_folder: Path):
    alone = render_run(run_folder).read_text()
    beside = render_run(run_folder, assets=True).read_text()

    sources = [a["src"] for tag, a in Page(beside).elements if tag == "img"]
    assert len(sources) == 24
    for source in sources:
        assert (run_folder / source).read_bytes().startswith(b"\x89PNG")
    assert "img-src data: 'self' file:;" in beside
    assert render_run(run_folder).read_text() == alone
    assert not (run_folder / "report_assets").exists()


def test_numbers_of_every_figure_lie_beside_the_page(run_folder: Path, record: Record):
    render_run(run_folder)

    names = {path.name for path in (run_folder / "figures").iterdir()}
    assert {"matching-loss.csv", "matching-loss.json", "plan.csv", "networks.json"} <= names
    assert len(names) == 20


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": 2}'])
def test_damaged_record_is_refused(run_folder: Path, content: bytes):
    (run_folder / "record.json").write_bytes(content)

    with pytest.raises(
        RecordError, match=r"record\.json is damaged or of another format"
    ) as caught:
        render_run(run_folder)
    assert "ddspec run" in caught.value.hint
    assert not (run_folder / "report.html").exists()


def test_missing_record_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match=r"has no record\.json"):
        render_run(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/b.png", "..", ".", "", "c:\\x.png", "..\\x.png"]
)
def test_image_outside_of_the_folder_is_never_read(run_folder: Path, record: Record, name: str):
    (run_folder / "secret.png").write_bytes((run_folder / "images" / "000000.png").read_bytes())
    sheet = record.sheets[0].model_copy(update={"file": name})
    changed = record.model_copy(update={"sheets": (sheet,)})
    (run_folder / "record.json").write_text(changed.model_dump_json())

    with pytest.raises(RecordError, match="outside its folder"):
        render_run(run_folder)


def test_link_out_of_the_folder_is_never_followed(run_folder: Path, tmp_path: Path):
    image = run_folder / "images" / "000000.png"
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")

    with pytest.raises(RecordError, match="outside its folder"):
        render_run(run_folder)


def test_missing_image_is_refused(run_folder: Path):
    (run_folder / "images" / "000300.png").unlink()

    with pytest.raises(RecordError, match=r"images/000300\.png cannot be read"):
        render_run(run_folder)


@pytest.mark.parametrize("damage", ["text", "size", "truncated"])
def test_damaged_image_is_refused(record: Record, images: dict[str, bytes], damage: str):
    (sheet, _) = record.sheets
    out = io.BytesIO()
    Image.new("L", (9, 9)).save(out, format="PNG")
    content = {"text": b"no PNG", "size": out.getvalue(), "truncated": images[sheet.file][:60]}

    with pytest.raises(RecordError, match=re.escape(sheet.file)):
        sheets.gallery(record, {**images, sheet.file: content[damage]})


def test_page_without_a_record_is_refused():
    with pytest.raises(RecordError, match="no embedded `record`"):
        embedded_record("<html><script id=other>{}</script></html>")


@pytest.mark.slow
def test_a_long_record_is_rendered_on_a_small_page_without_torch(run_folder: Path, record: Record):
    draw = random.Random(0)
    series = {name: [draw.random() for _ in range(5000)] for name in Series.model_fields}
    counts = {name: [1] * 5000 for name in COUNTED_SERIES}
    expert = record.experts[0]
    many = [
        expert.model_copy(
            update={
                "index": index,
                "test_accuracy": tuple(100 * draw.random() for _ in range(50)),
                "step_length": tuple(draw.random() for _ in range(50)),
            }
        )
        for index in range(50)
    ]
    long = record.model_copy(
        update={"series": Series.model_validate(series | counts), "experts": tuple(many)}
    )
    (run_folder / "record.json").write_text(long.model_dump_json())
    code = (
        "import sys;"
        "from ddspec.reports.pages.run import render_run; from pathlib import Path;"
        "render_run(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(run_folder)]
    subprocess.run(command, check=True)
    assert (run_folder / "report.html").stat().st_size < 5_000_000


@pytest.mark.slow
def test_report_removes_the_pictures_that_it_kept_and_nothing_else(run_folder: Path):
    render_run(run_folder, assets=True)
    foreign = run_folder / "report_assets" / "thesis.tex"
    foreign.write_text("a year of work")
    render_run(run_folder)
    assert [*foreign.parent.iterdir()] == [foreign]
    render_run(run_folder, assets=True)
    assert len([*foreign.parent.iterdir()]) > 1
    assert foreign.read_text() == "a year of work"


def test_report_removes_what_killed_reports_left(run_folder: Path):
    older = run_folder / "figures" / ".plan.csv.4711"
    older.parent.mkdir(exist_ok=True)
    young, foreign = run_folder / ".report.html.4711", run_folder / ".notes"
    for path in (older, young, foreign):
        path.write_text("half")
    os.utime(older, (0, 0))
    os.utime(foreign, (0, 0))
    render_run(run_folder)
    assert [path.exists() for path in (older, young, foreign)] == [False, True, True]

"""The HTML report and the figures for papers, from whole small runs and from results nobody would wish for."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium, find_chromium
from PIL import Image
from report_pages import dice, distance, read, rows_into

from mtbench import api
from mtbench.errors import RequestError
from mtbench.report import write_figure, write_report
from mtbench.report.choosing import choose
from mtbench.report.html import script_json
from mtbench.report.pixels import edges, image_uri, outlines_uri

TOYS = Path(__file__).with_name("toys.py")

SUITE = """
[suite]
name = "toy"
seeds = [0, 1]
[[datasets]]
name = "toy"
[[datasets]]
name = "toy-paired"
[[translators]]
name = "toy-same"
[[translators]]
name = "toy-shift"
[[translators]]
name = "toy-masked"
[[translators]]
name = "toy-odd"
params = { mode = "raises" }
[[segmenters]]
name = "toy-threshold"
[[metrics]]
name = "toy-overlap"
[[metrics]]
name = "toy-gap"
[[metrics]]
name = "toy-mean"
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in ``results`` and its artefacts in ``store``."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "toy.toml").write_text(SUITE)
    toys = shutil.copy(TOYS, folder / "toys.py")
    api.run(
        str(folder / "toy.toml"),
        out=str(folder / "results"),
        store=str(folder / "store"),
        device="cpu",
        executor="inline",
        quiet=True,
        plugin_files=[str(toys)],
    )
    return folder


@pytest.fixture(scope="module")
def page(ran: Path) -> Path:
    """The report of that run."""
    return write_report(ran / "results", ran / "report.html", store=str(ran / "store"))


# -- a whole page


def test_the_page_shows_everything_and_loads_nothing(page: Path) -> None:
    document = read(page)
    assert page.stat().st_size < 7e6
    assert set(document.ids) >= {
        *("summary", "table", "images", "correlation", "cases", "training", "cost", "failures", "provenance")
    }
    assert all(load.startswith("data:image/png;base64,") for load in document.loads)
    assert all(link.startswith("#") and link[1:] in document.ids for link in document.links)
    assert len(document.ids) == len(set(document.ids))
    assert document.unlabelled == []
    for name in ("toy-same", "toy-shift", "toy-masked", "toy: dim → bright", "worst of toy-shift", "toy-overlap"):
        assert name in document.text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.read_text())
    assert policy
    assert "default-src &#39;none&#39;" in policy[1]
    assert "script-src &#39;sha256-" in policy[1]


def test_pictures_are_those_of_the_store(ran: Path, page: Path) -> None:
    text = page.read_text()
    # toy-same changes nothing: its picture is the source's.
    source = re.search(r'<figure class="tile source">.*?src="([^"]+)"', text, re.S)
    same = re.search(r'alt="slice [^"]+ translated by toy-same', text)
    assert source
    assert same
    assert text[: same.start()].rindex(source[1]) > text.index("tile translation")
    assert "real target image of this slice (paired)" in text


def test_failures_are_told_with_their_reasons(page: Path) -> None:
    document = read(page)
    assert "translate toy toy-odd[mode=raises]" in document.text
    assert "it has no such key" in document.text
    assert re.search(r"\d dependent units skipped", document.text)


def test_no_host_no_folder_and_no_log_unless_asked_for(ran: Path, page: Path, tmp_path: Path) -> None:
    private = [str(ran), socket.gethostname(), "Traceback"]
    open_page = write_report(ran / "results", tmp_path / "open.html", store=str(ran / "store"), with_provenance=True)
    closed, opened = read(page).text, read(open_page).text
    for word in private:
        assert not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", closed), word
        assert word in opened


def test_the_command_writes_beside_the_results(ran: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(ran / "store"))
    said = run_cli(
        "report", ran / "results", "-d", "toy", "-m", "toy-*", "--rename", "toy-same=The same", "--title", "T"
    )
    assert said.code == 0, said.err
    assert re.search(r"wrote .*report\.html \(\d\.\d MB\)", said.err)
    document = read(ran / "results" / "report.html")
    assert "The same" in document.text
    assert "toy: dim → bright" in document.text
    assert "toy-paired: " not in document.text
    assert run_cli("export", ran / "results").code == 0


def test_images_that_have_gone_are_said_to(ran: Path, tmp_path: Path) -> None:
    document = read(write_report(ran / "results", tmp_path / "r.html", store=str(tmp_path / "nothing")))
    assert "The store has no translated test images of this task" in document.text
    assert "toy-overlap" in document.text
    lost = tmp_path / "store"
    shutil.copytree(ran / "store", lost)
    for manifest in list((lost / "artefacts" / "translate").rglob("manifest.json")):
        if json.loads(manifest.read_text())["unit"]["plugin"] == "toy-shift":
            shutil.rmtree(manifest.parent)
    document = read(write_report(ran / "results", tmp_path / "r.html", store=str(lost)))
    assert "not in the store" in document.text
    for pixels in (lost / "artefacts" / "prepare").rglob("images-source.npy"):
        pixels.write_bytes(b"not an array")
    damaged = read(write_report(ran / "results", tmp_path / "r.html", store=str(lost)))
    assert "Cannot read the images of this task" in damaged.text
    assert "worst of toy-same" in document.text


def test_chosen_slices(ran: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown slice 's9-9'"):
        write_report(ran / "results", tmp_path / "r.html", store=str(ran / "store"), slices=["s9-9"])
    text = read(write_report(ran / "results", tmp_path / "r.html", store=str(ran / "store"), slices=["best"])).text
    assert "Best · mean" in text
    assert "Worst" not in text


def test_published_numbers_have_a_report_without_images(tmp_path: Path) -> None:
    document = read(write_report("published:midl2024", tmp_path / "p.html", rule="paper"))
    assert "Published scores have no images" in document.text
    assert "0.950" in document.text
    assert "cyclegan" in document.text


# -- results nobody would wish for

NASTY = [
    "<script>alert(1)</script>",
    "a|b & c_d",
    "名前 Ωmega",
    "</script><b>",
    "$x^2$",
    "%{x}",
    '"><img src=x onerror=y>',
]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [dice("only", 0.5)],
        [dice("a", None, status="failed", note="it broke"), dice("b", None, status="failed", note="so did this")],
        [dice("a", math.nan), dice("b", math.inf), dice("c", -math.inf), distance("a", math.nan), distance("b", 1.0)],
        [make(name, 0.1 * i) for i, name in enumerate(NASTY) for make in (dice, distance)],
        [dice(n, 0.5 + i, dataset=n, source_domain=n, target_domain=n, label=n, title=n) for i, n in enumerate(NASTY)],
        [dice("a", 0.5, role="ceiling")],
    ],
    ids=["empty", "one translator", "all failed", "not finite", "names", "names of tasks", "references only"],
)
def test_bad_results_break_nothing(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    results = rows_into(tmp_path / "results", rows)
    document = read(write_report(results, tmp_path / "r.html"))
    assert document.tags.count("script") in (2, 3)
    assert not document.loads
    for row in rows:
        if row["role"] != "ceiling" if "role" in row else True:
            assert " ".join(row["translator"].split()) in document.text
    for figure, says in (
        ("table", "no scores"),
        ("correlation", "no (correlations|heat map)"),
        ("examples", "no images"),
    ):
        for ending in (".png", ".svg", ".pdf"):
            said = ""
            try:
                write_figure(figure, results, tmp_path / f"f{ending}")
            except RequestError as error:
                said = str(error)
            assert not said or re.search(says, said), figure


def test_json_in_a_page_cannot_end_its_script() -> None:
    value = {"<!--": ["</script>", "&", "\u2028", math.nan, math.inf, (1.5,)]}
    text = script_json(value)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"<!--": ["</script>", "&", "\u2028", None, None, [1.5]]}


# -- figures


@pytest.mark.parametrize("figure", ["examples", "correlation", "table"])
def test_figures(figure: str, ran: Path, run_cli: Any, tmp_path: Path) -> None:
    results = ("published:midl2024", "--rule", "paper") if figure == "correlation" else (ran / "results",)
    command = ("report", *results, "--store", ran / "store", "--figure", figure, "-o")
    for ending, starts in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = tmp_path / f"{figure}.{ending}"
        said = run_cli(*command, path)
        assert said.code == 0, said.err
        assert path.read_bytes().startswith(starts)
    text = (tmp_path / f"{figure}.svg").read_text()
    assert {"examples": "toy-shift", "correlation": "SWD", "table": "toy-masked†"}[figure] in text
    first = path.read_bytes()
    run_cli(*command, path)
    assert path.read_bytes() == first
    with Image.open(tmp_path / f"{figure}.png") as picture:
        assert min(picture.size) > 200


def test_figures_that_cannot_be(ran: Path, run_cli: Any, tmp_path: Path) -> None:
    said = run_cli("report", ran / "results", "--figure", "table")
    assert (said.code, "Use -o table.png" in said.err) == (2, True)
    said = run_cli("report", ran / "results", "--figure", "table", "-o", "t.gif")
    assert (said.code, "one of .png, .svg, .pdf" in said.err) == (2, True)
    said = run_cli("report", "published:midl2024", "--figure", "examples", "-o", "t.png")
    assert (said.code, "Published scores have no images" in said.err) == (2, True)
    said = run_cli("report", ran / "results", "--figure", "correlation", "-o", tmp_path / "t.png")
    assert (said.code, "no heat map, because 2 translators cannot show agreement" in said.err) == (2, True)
    assert not (tmp_path / "t.png").exists()


# -- parts


def test_slices_are_chosen_by_fair_translators() -> None:
    ids = ["a", "b", "c", "d"]
    values = {
        "fair": {0: {"a": 0.5, "b": 0.1, "c": 0.9, "d": math.nan}},
        "odd": {0: {"a": 0.0, "b": 1.0, "c": 0.5, "d": 0.7}},
    }
    chosen, means = choose(ids, values, ["fair"], True)
    assert chosen == {1: ["worst", "worst of fair"], 0: ["median", "worst of odd"], 2: ["best"]}
    assert means == {0: 0.5, 1: 0.1, 2: 0.9}
    assert choose(ids, values, ["fair"], False)[0][2] == ["worst", "worst of fair"]
    assert choose(ids, values, ["fair"], True, ["d", "best"])[0] == {3: ["chosen"], 2: ["best"]}
    assert choose(ids, {}, [], True) == ({0: ["first"], 2: ["middle"], 3: ["last"]}, {})


def test_outlines_follow_labels_and_images_are_made_smaller() -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 1:4] = 2
    assert edges(mask)[1:4, 1:4].tolist() == [[True, True, True], [True, False, True], [True, True, True]]
    assert outlines_uri(mask, 100).startswith("data:image/png;base64,")
    assert len(image_uri(np.zeros((400, 300), np.uint8), 40)) < 200


# -- in a browser


@pytest.mark.browser
def test_the_page_works_in_a_browser(page: Path, tmp_path: Path) -> None:
    binary = find_chromium()
    if binary is None:
        pytest.skip("no Chromium on the path, and MTBENCH_CHROMIUM names none")
    with chromium(binary, tmp_path / "profile") as tab:
        for width, scheme in ((1280, "light"), (390, "dark")):
            tab.open(page, width=width, scheme=scheme)
            assert tab.run("[...document.querySelectorAll('.chart')].every(c => c.dataset.drawn)")
            assert tab.run("document.querySelectorAll('.plot svg').length") > 0
            assert tab.run("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width}"
        _sorts(tab)
        _filters(tab)
        _shows_images(tab)
        _explains(tab)
        _enlarges(tab)
        _wears_a_theme(tab)
        assert tab.problems == []
        assert {url.partition("#")[0] for url in tab.requests} == {page.absolute().as_uri()}


def _sorts(tab: Any) -> None:
    order = "[...document.querySelectorAll('.scores tbody.translators')][0].innerText.match(/toy-\\w+/g)"
    first = tab.run(order)
    heading = "document.querySelectorAll('.scores thead th')[1]"
    seen = []
    for _ in range(3):
        tab.run(f"{heading}.querySelector('button').focus()")
        tab.press("Enter", "Enter", 13, "\r")
        seen.append((tab.run(f"{heading}.ariaSort"), tab.run(order)))
    assert [state for state, _ in seen] == ["descending", "ascending", "none"]
    assert seen[2][1] == first
    assert "odd" in seen[0][1][-1]
    assert "odd" in seen[1][1][-1]
    assert seen[0][1] != seen[1][1]
    assert "original order" in tab.run("document.querySelector('#said').textContent")


def _filters(tab: Any) -> None:
    shown = "[...document.querySelectorAll('.scores th[data-metric]')].filter(h => h.checkVisibility()).length"
    before = tab.run(shown)
    tab.run("document.querySelector('input[name=metric]').click()")
    after = tab.run(shown)
    assert 0 < after < before
    tab.run("document.querySelector('input[name=task]').click()")
    assert 0 < tab.run(shown) < after
    tab.run("document.querySelectorAll('input[name=task]').forEach(box => { if (box.checked) box.click(); })")
    assert tab.run("document.querySelector('#nothing').checkVisibility()")
    tab.run("document.querySelectorAll('#filters input:not(:checked)').forEach(box => box.click())")
    assert tab.run(shown) == before


def _shows_images(tab: Any) -> None:
    tab.run("document.querySelector('.wipe').focus()")
    for _ in range(3):
        tab.press("ArrowRight", "ArrowRight", 39)
    assert tab.run("document.querySelector('.range output').textContent") == "3 %"
    clip = "getComputedStyle(document.querySelector('.example:not([hidden]) .under')).clipPath"
    assert "97%" in tab.run(clip)
    tab.run("document.querySelector('.show-difference').click()")
    grey_pixel = """(() => { const c = document.querySelector('.example:not([hidden]) .change');
        return [c.checkVisibility(), ...c.getContext('2d').getImageData(2, 2, 1, 1).data]; })()"""
    end = time.monotonic() + 10
    while (seen := tab.run(grey_pixel)) != [True, 240, 240, 240, 255] and time.monotonic() < end:
        time.sleep(0.05)
    # The first translator changes nothing.
    assert seen == [True, 240, 240, 240, 255]
    tab.run(
        "(() => { const s = document.querySelector('.slice'); s.value = '1'; s.dispatchEvent(new Event('change')) })()"
    )
    assert tab.run("document.querySelector('.example:not([hidden])').dataset.slice") == "1"


def _explains(tab: Any) -> None:
    said = "document.querySelector('#tooltip').checkVisibility() && document.querySelector('#tooltip').textContent"
    tab.run("document.querySelector('.scores th.tip, .scores tbody.reference .tip').focus()")
    assert tab.run(said).startswith("Ceiling: target-trained segmenter")
    tab.press("Escape", "Escape", 27)
    assert tab.run(said) is False
    tab.run("document.querySelector('.scores strong.tip').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = tab.run(
        "(() => { const b = document.querySelector('.scores strong.tip').getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert tab.run(said).startswith("Bold: the best ranked score")


def _enlarges(tab: Any) -> None:
    tab.run("document.querySelector('.example:not([hidden]) .translation .frame').focus()")
    tab.press("Enter", "Enter", 13, "\r")
    assert tab.run("document.querySelector('#zoom').open")
    width = "document.querySelector('#zoom .frame').getBoundingClientRect().width"
    fitted = tab.run(width)
    tab.run("document.querySelector('#zoom input').value = 2")
    tab.run("document.querySelector('#zoom input').dispatchEvent(new Event('input'))")
    assert tab.run(width) == pytest.approx(2 * fitted, rel=0.05)
    tab.run("document.querySelector('#zoom').close()")


def _wears_a_theme(tab: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = tab.run(paper)
    _pick(tab, "#theme", "dark")
    assert tab.run(paper) != light


def _pick(tab: Any, selector: str, value: str) -> None:
    tab.run(
        f"(() => {{ const list = document.querySelector('{selector}'); list.value = '{value}';"
        " list.dispatchEvent(new Event('change')); })()"
    )

"""What the report states of a run: explanations, warnings, parameters, commands, methods, reference rows, heat maps."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from report_pages import Reader, dice, distance, read, rows_into

from mtbench import api
from mtbench.report import write_report
from mtbench.report.methods import NOT_RECORDED
from mtbench.report.records import without_comments, without_folders

TOYS = Path(__file__).with_name("toys.py")

SUITE = """
# prepared by Alice Example
[suite]
name = "toy"
[[datasets]]
name = "toy" # alice's own
split = { by = "seed", seed = 0, validation = 0.2, test = 0.4 }
[[translators]]
name = "toy-same"
[[translators]]
name = "toy-shift"
params = { by = 0.5 }
[[translators]]
name = "toy-masked"
[[segmenters]]
name = "toy-threshold"
[[metrics]]
name = "toy-overlap"
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in ``results`` and its artefacts in ``store``."""
    folder = tmp_path_factory.mktemp("alice")
    (folder / "toy.toml").write_text(SUITE)
    api.run(
        str(folder / "toy.toml"),
        out=str(folder / "results"),
        store=str(folder / "store"),
        device="cpu",
        executor="inline",
        quiet=True,
        plugin_files=[shutil.copy(TOYS, folder / "toys.py")],
    )
    return folder


@pytest.fixture(scope="module")
def page(ran: Path) -> str:
    return write_report(ran / "results", ran / "report.html", store=str(ran / "store")).read_text()


def section(page: str, name: str) -> str:
    """The text of one section."""
    return Reader(page[page.index(f'<section id="{name}"') :].partition("</section>")[0]).text


# -- explanations


def test_every_heading_mark_and_reference_row_explains_itself(page: str) -> None:
    document = Reader(page)
    texts = dict(re.findall(r'<dd id="(x-\d+)">([^<]+)</dd>', page))
    assert document.described
    for tag, explanation, can_focus in document.described:
        assert texts[explanation].strip(), explanation
        assert can_focus, f"<{tag}> cannot have the keyboard's focus"
    table = page[page.index('<section id="table"') :].partition("</section>")[0]
    headings = re.findall(r"<th scope=\"col\"[^>]*><button[^>]*>", table)
    assert headings
    assert all("aria-describedby" in heading for heading in headings)
    reference = table[table.index('<tbody class="reference">') :]
    rows = re.findall(r'<th scope="row"><span class="tip" tabindex="0" aria-describedby="(x-\d+)">(\w+)', reference)
    explained = {name: texts[id] for id, name in rows}
    assert explained["ceiling"].startswith("Ceiling: target-trained segmenter on real target test images")
    assert "Not ranked" in explained["ceiling"]
    dagger = re.search(r'aria-describedby="(x-\d+)">†', table)
    best = re.search(r'<strong class="tip" tabindex="0" aria-describedby="(x-\d+)">', table)
    second = re.search(r'<u class="tip" tabindex="0" aria-describedby="(x-\d+)">', table)
    assert dagger
    assert best
    assert second
    assert "its input is the reference mask" in texts[dagger[1]]
    assert texts[best[1]].startswith("Bold: the best ranked score")
    assert texts[second[1]].startswith("Underlined: the runner-up")


def test_intervals_stale_rows_and_asterisks_explain_themselves(tmp_path: Path) -> None:
    old, new = ({"data x": {"content": text, "change": "the test images of 'task' have changed"}} for text in "ab")
    rows = [
        dice("kept", 0.5, made_from=old),
        dice("renewed", 0.7, made_from=new),
        distance("kept", 3.0, mark="*", note="fewer than 2048 images", made_from=new),
    ]
    text = write_report(rows_into(tmp_path / "r", rows), tmp_path / "r.html").read_text()
    texts = dict(re.findall(r'<dd id="(x-\d+)">([^<]+)</dd>', text))
    stale = re.search(r'<tr class="stale"><th scope="row"><span class="tip"[^>]*"(x-\d+)">kept \(stale\)', text)
    heading = re.search(r'aria-describedby="(x-\d+)">Far\* ↓', text)
    assert stale
    assert heading
    assert "Stale, not ranked: the test images" in texts[stale[1]]
    assert "*: fewer than 2048 images" in texts[heading[1]]
    assert "Lower is better" in texts[heading[1]]
    summary = section(text, "summary")
    assert "Stale, not ranked: kept (stale) (the test images of 'task' have changed" in summary


# -- the summary


def test_excluded_cases_and_missing_intervals_are_in_the_summary(tmp_path: Path) -> None:
    why = "4 patients, at least 10 are needed"
    rows = [
        dice(name, value, without_interval=why, left_out="1 case could not be used and is left out (p7: empty)")
        for name, value in (("a", 0.5), ("b", 0.6))
    ]
    summary = section(write_report(rows_into(tmp_path / "r", rows), tmp_path / "r.html").read_text(), "summary")
    assert "p7: empty" in summary
    assert f"No confidence intervals: Dice ({why})" in summary


def test_floor_and_ceiling_stand_beside_the_best_and_what_is_above_is_explained(tmp_path: Path) -> None:
    rows = [
        *(dice(name, value) for name, value in (("low", 0.5), ("high", 0.93), ("equal", 0.9001))),
        dice("", 0.9, role="ceiling"),
        *(distance(name, value) for name, value in (("low", 30.0), ("high", 20.0))),
        distance("", 12.5, role="floor"),
    ]
    text = write_report(rows_into(tmp_path / "r", rows), tmp_path / "r.html").read_text()
    card = Reader(text[text.index('<article class="card">') :].partition("</article>")[0]).text
    assert "Dice bone ↑ high 0.930 equal 0.900 – 0.900" in card
    assert "Far ↓ high 20.0 low 30.0 12.5 –" in card
    assert "Above the ceiling: high on Dice bone (0.930, ceiling 0.900). The ceiling is the score of real" in card


# -- correlations


@pytest.mark.parametrize("count", [4, 5])
def test_no_heat_map_from_fewer_than_five_points(count: int, tmp_path: Path) -> None:
    rows = [make(f"t{i}", (i * 7 % 5) / 10 + 0.1) for i in range(count) for make in (dice, distance)]
    text = write_report(rows_into(tmp_path / "r", rows), tmp_path / "r.html").read_text()
    said = section(text, "correlation")
    assert ('data-chart="heat-0"' in text) == (count == 5)
    assert 'data-chart="scatter-0"' in text
    assert ("no heat map, because 4 translators cannot show agreement (at least 5" in said) == (count == 4)
    assert ("(r = " in said) == (count == 5)


# -- images


def test_the_target_stands_beside_the_source_and_says_what_it_is(page: str) -> None:
    example = page[page.index('<div class="example') :]
    kinds = re.findall(r'<figure class="tile (\w+)">', example)[:3]
    assert kinds == ["source", "target", "translation"]
    assert "real target example, another patient" in Reader(example).text
    assert re.search(r'<div class="frame" tabindex="0" role="button" aria-label="Enlarge: slice', example)


# -- what was run


def test_methods_budget_checkpoint_and_split_are_those_of_the_artefacts(ran: Path, page: str) -> None:
    said = section(page, "ran")
    manifests = [json.loads(path.read_text()) for path in (ran / "store" / "artefacts").rglob("manifest.json")]
    fits = {m["unit"]["plugin"]: m["digest"] for m in manifests if m["stage"] == "fit"}
    assert "toy-shift" in fits
    for plugin, digest in fits.items():
        assert plugin in said
        assert digest[:16] in said
    assert "by 0.5" in said
    assert re.search(r"toy-same translator toy: dim → bright – none no training – – –", said)
    sides = json.loads(next((ran / "store" / "artefacts" / "split").rglob("split.json")).read_text())["sides"]
    count = Counter(sides["source"])
    # Two slices of each patient.
    numbers = " ".join(f"{count[s]} ({count[s] // 2})" for s in ("train", "validation", "test"))
    assert f"source: dim {numbers}" in said


def test_the_command_and_the_suite_without_folders_and_comments(ran: Path, page: str, tmp_path: Path) -> None:
    closed = section(page, "ran")
    assert "mtbench run toy.toml --plugin toys.py" in closed
    assert 'name = "toy-shift"' in closed
    assert "params = { by = 0.5 }" in closed
    assert "Alice" not in page
    assert str(ran) not in page
    path = write_report(ran / "results", tmp_path / "o.html", store=str(ran / "store"), with_provenance=True)
    opened = section(path.read_text(), "ran")
    assert f"mtbench run {ran}/toy.toml --plugin {ran}/toys.py" in opened
    assert f"--out {ran}/results" in opened
    assert "# prepared by Alice Example" in opened


def test_suites_lose_comments_and_folders_and_nothing_else() -> None:
    paths = 'root = "~/bob/data"\nfile = "bob/split.csv"\nb = [\'/home/bob/w.pt\', "t1/*.nii"]\n'
    toml = f'a = "x # y" # by Bob\n# Bob\n{paths}'
    assert without_comments(toml) == toml.replace(" # by Bob", "").replace("# Bob\n", "\n").strip() + "\n"
    shown = without_folders(without_comments(toml))
    assert "bob" not in shown
    assert 'root = "…/data"' in shown
    assert 'file = "…/split.csv"' in shown
    assert '"t1/*.nii"' in shown


# -- methods


def test_methods_say_what_was_recorded(page: str) -> None:
    said = section(page, "methods")
    for sentence in (
        "We evaluated 3 translators (toy-same, toy-shift, toy-masked) on 1 task (toy: dim → bright) with mtbench ",
        "16 x 16 pixels",
        "Trained translators: toy-shift (",
        "No case was excluded",
        "conditional translators are not ranked",
        "- Seeds: 0",
        f"- Intensity window: {NOT_RECORDED}",
        f"- Checkpoint selection: {NOT_RECORDED}",
    ):
        assert sentence in said, sentence


def test_published_scores_have_a_checklist_of_what_is_missing(tmp_path: Path) -> None:
    text = write_report("published:midl2024", tmp_path / "p.html", rule="paper").read_text()
    said = section(text, "methods")
    for item in ("mtbench version", "Patients and slices by split", "Excluded cases", "Checkpoints (SHA-256)", "Seeds"):
        assert f"- {item}: {NOT_RECORDED}" in said, item
    assert "These results record no training" in section(text, "ran")
    assert read(tmp_path / "p.html").text.count("Not recorded.") == 1


def test_a_fit_from_the_store_is_called_reused(ran: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"device": "cpu", "executor": "inline", "quiet": True}
    plugins = [str(ran / "toys.py")]
    api.run(str(ran / "toy.toml"), out=str(tmp_path / "r"), store=str(ran / "store"), plugin_files=plugins, **options)
    said = section(write_report(tmp_path / "r", store=str(ran / "store")).read_text(), "ran")
    assert re.search(r"toy-shift translator, trained on [\w ]+ toy: dim → bright 0 by 0\.5 .* reused", said)

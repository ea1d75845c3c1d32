"""The protocols: which image sets play which roles, and that no table mixes two of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench.analysis.compare import compare
from mtbench.analysis.table import build_table
from mtbench.errors import SuiteError
from mtbench.plan import Plan, make_plan
from mtbench.plan.protocols import PROTOCOLS
from mtbench.plan.suite import PROTOCOLS as NAMES
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.stages.table import Subset

SUITE = toy_suite('protocols = ["segment-translated", "train-on-translated"]')
REVERSE = 'protocols=["train-on-translated"]'
OUT = "mtbench-results/toy"


def plan(toys: Path, *settings: str, **selection: Any) -> Plan:
    suite = parse_suite(SUITE, "toy.toml", toys.parent, settings).select(**selection)
    return make_plan(suite, discover([toys]))


def test_suites_and_the_planner_know_the_same_protocols() -> None:
    assert tuple(PROTOCOLS) == NAMES


def test_the_reverse_protocol_trains_on_translated_slices_and_tests_on_real_ones(toys: Path) -> None:
    graph = plan(toys, REVERSE)
    assert {(r.columns["role"], r.columns["metric"], r.columns["protocol"]) for r in graph.rows} == {
        ("translator", "toy-overlap", "train-on-translated"),
        ("ceiling", "toy-overlap", "train-on-translated"),
    }
    for row in graph.rows:
        score = graph.units[row.unit]
        assert score.options.candidate == Subset("target", "test")
        assert "candidate_images" not in score.inputs
        fit = graph.units[score.inputs["segmenter"]]
        if row.columns["role"] == "ceiling":
            assert fit.options.domains == ("target",)
            assert not {"target_train", "target_validation"} & set(fit.inputs)
            continue
        # The target's masks are seen in the test alone.
        assert fit.options.domains == ("source",)
        sides = {role: graph.units[fit.inputs[f"source_{role}"]].options.candidate for role in ("train", "validation")}
        assert sides == {split: Subset("source", split) for split in ("train", "validation")}
        assert {graph.units[fit.inputs[f"source_{side}"]].plugin for side in sides} == {row.columns["translator"]}


def test_protocols_share_what_they_can_and_make_nothing_that_no_metric_looks_at(toys: Path) -> None:
    both, one = plan(toys), plan(toys, 'protocols=["segment-translated"]')
    assert set(one.units) < set(both.units)
    assert {r.id for r in one.rows} < {r.id for r in both.rows}
    ceilings = {r.unit for r in both.rows if r.columns["role"] == "ceiling" and r.columns["metric"] == "toy-overlap"}
    assert len(ceilings) == 1
    # Distances say nothing about the reverse protocol: nothing is translated for it.
    assert set(plan(toys, metrics=["toy-gap"]).units) == set(
        plan(toys, 'protocols=["segment-translated"]', metrics=["toy-gap"]).units
    )


def test_rows_say_whose_training_read_the_masks_that_the_protocol_does_without(run: Any, toys: Path) -> None:
    masked = 'TranslatorSpec("toy-fixed", ":Shift", params={"by": 1.0}, trains=True, deterministic=True'
    assert masked in toys.read_text()
    toys.write_text(toys.read_text().replace(masked, masked + ", trains_on_masks=True"))
    names = 'protocols = ["segment-translated", "train-on-translated"]'
    assert run(suite=toy_suite(names, translators=("toy-shift", "toy-fixed"), metrics=("toy-overlap",))).code == 0
    notes = {(r["translator"], r["protocol"]): r["note"] for r in mtbench.load(OUT).to_pylist() if r["translator"]}
    said = "'fit toy toy-fixed' read masks of the target's training slices"
    assert {place for place, note in notes.items() if note} == {("toy-fixed", "train-on-translated")}
    assert notes["toy-fixed", "train-on-translated"] == said


@pytest.mark.parametrize(("written", "message"), [("[]", "empty"), ('["translate-translated"]', "Did you mean")])
def test_a_protocol_that_does_not_exist(toys: Path, written: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        plan(toys, f"protocols={written}")


def test_tables_never_mix_protocols(toys: Path, run_cli: Any, store: Path) -> None:
    (toys.parent / "toy.toml").write_text(SUITE)
    shown = run_cli("plan", "toy.toml", "--plugin", toys)
    assert "dim → bright, segment-translated" in shown.out
    assert "dim → bright, train-on-translated" in shown.out
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline")
    assert ran.code == 0, ran.err
    scores = mtbench.load(OUT)
    rows = [r for r in scores.to_pylist() if r["metric"] == "toy-overlap"]
    values = {(r["protocol"], r["role"], r["translator"]): r["value"] for r in rows}
    reverse = "train-on-translated"
    # Learnt from dim slices as they are, a threshold calls everything in bright ones a blob.
    assert values[reverse, "translator", "toy-same"] < 0.6 < 0.95 < values[reverse, "translator", "toy-shift"]
    assert values[reverse, "ceiling", ""] == values["segment-translated", "ceiling", ""]

    built = build_table(scores)
    titles = [c.title for c in built.sections[0].columns]
    assert [t for t in titles if "overlap" in t] == [
        "toy-overlap[segment-translated] blob ↑",
        "toy-overlap[train-on-translated] blob ↑",
    ]
    cells = {r.label: [c.value for c in r.cells] for r in built.sections[0].rows}
    for column, protocol in enumerate(("segment-translated", reverse)):
        assert cells["ceiling"][column] == values[protocol, "ceiling", ""]
        for name in ("toy-same", "toy-shift"):
            assert cells[name][column] == values[protocol, "translator", name]

    alone = run_cli(
        "run",
        "toy.toml",
        "--plugin",
        toys,
        "--device",
        "cpu",
        "--executor",
        "inline",
        "--set",
        REVERSE,
        "--out",
        "reverse",
    )
    assert alone.code == 0
    assert "Nothing to do" in alone.err
    other = mtbench.load("reverse")
    (column,) = build_table(other).sections[0].columns
    assert column.title == "toy-overlap[train-on-translated] blob ↑"
    remarks = " ".join(build_table(other).remarks)
    assert "Test images: 2 target (1 patient)" in remarks
    assert " translated (" not in remarks
    first = [r for r in scores.to_pylist() if r["protocol"] == "segment-translated"]
    assert compare(scores.from_pylist(first, scores.schema), other).items == ()


def test_the_segmenters_own_dice_stands_beside_the_table(toys: Path, run_cli: Any, store: Path) -> None:
    (toys.parent / "toy.toml").write_text(SUITE)
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline")
    dice = {
        (r["protocol"], r["role"], r["translator"]): json.loads(r["segmenter_validation"])
        for r in mtbench.load(OUT).to_pylist()
        if r["metric"] == "toy-overlap"
    }
    kept = {json.loads(p.read_text())["blob"] for p in store.glob("artefacts/fit/*/*/validation.json")}
    assert {one["blob"] for one in dice.values()} == kept
    first = dice["segment-translated", "translator", "toy-same"]
    assert first == dice["segment-translated", "ceiling", ""]
    assert {r["segmenter_validation"] for r in mtbench.load(OUT).to_pylist() if r["metric"] == "toy-gap"} == {""}
    wanted = (
        f"Segmenters: toy-threshold, Dice on real target validation images: blob {first['blob']:.3f}",
        "toy-threshold, train-on-translated, Dice on translated validation images: blob",
    )
    for text in wanted:
        assert text.replace("1.000", "1.00") in " ".join(ran.out.split())
        for kind in ("md", "tex", "html", "json"):
            exported = run_cli("export", OUT, "--format", kind).out
            assert "Dice on real target validation images: blob" in exported


def test_what_must_be_known_of_a_translator_stands_on_its_rows_and_once_below(
    toys: Path, run_cli: Any, store: Path
) -> None:
    (toys.parent / "toy.toml").write_text(SUITE)
    weights = toys.parent / "theirs.pth"
    weights.write_bytes(b"weights")
    ran = run_cli(
        "run",
        "toy.toml",
        "--plugin",
        toys,
        "--device",
        "cpu",
        "--executor",
        "inline",
        "-t",
        "toy-same",
        "-t",
        f"toy-noted:weights={weights}",
    )
    assert ran.code == 0, ran.err
    note = "Its weights are not for sale. Trained without its best loss."
    for row in mtbench.load(OUT).to_pylist():
        mine = row["translator"] == "toy-noted"
        assert row["translator_note"] == (note if mine else "")
        assert row["translator_weights_sha256"] == (hashlib.sha256(b"weights").hexdigest() if mine else "")
    assert " ".join(ran.out.split()).count(note) == 1

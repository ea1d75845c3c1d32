"""``mtbench check``: every built-in passes, and each of the sabotaged plugins is caught by the check that is meant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sabotaged import FAULTS

from mtbench.conformance import Report, check
from mtbench.conformance.tasks import image_set
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.registry.specs import KINDS

SABOTAGED = Path(__file__).with_name("sabotaged.py")

PHANTOM = "size=48,patients_source=8,patients_target=8,slices=2"
CHEAP = (
    *("identity", "histogram", "cyclegan:ngf=4,n_blocks=1,ndf=4", "unet:filters=4,levels=3,batch_size=4"),
    *("dice", "fid", "kid", "frd", "is", "swd:patches=8,directions=32", "hd95", "nsd", "mae", "psnr", "ssim"),
    *("pointwise-map", "monotone-map"),
    *("prdc", "nearest-neighbour", "nmi-source", "mmd", "cmmd", "fd", "c2st"),
    *("tissue-error", "radiomic-agreement", "lesions", "lesion-error", "changes", "slice-consistency"),
    *("dinov2-vitl14", "clip-vitl14-336", "radimagenet-resnet50"),
    *("segmenter-bottleneck", "self-supervised:size=16,width=4,batch_size=4"),
    *("ms-ssim:scales=1", "radiomics", "inception-fid", "inception-imagenet", f"phantom-lumbar:{PHANTOM}"),
    *("folder", "breast-siemens-ge", "lumbar-mri-ct", "synthrad2023", "synthrad2025"),
    *("csv", "html", "json", "md", "tex", "brasyn", "mrixfields2026"),
    *("inline", "slurm", "learning", "midl2024", "phantom", "quickstart", "smoke"),
)
COSTLY = (
    *("maskgan:ngf=4,n_blocks=1,ndf=4,n_attentions=3,batch_size=2", "spade:ngf=2,ndf=4,nhidden=8"),
    *("unsb:ngf=4,n_blocks=1,ndf=4,netF_nc=8,num_patches=16", "unet-lab:filters=4,levels=3,batch_size=4"),
    *(f"{name}:ngf=4,ndf=4,n_blocks=1,netF_nc=8,num_patches=16" for name in ("cut", "fastcut")),
    "contourdiff:width=8,levels=2,denoise_step=2,warmup=0",
    *("pix2pix:ngf=4,ndf=4", "regression-unet:width=2,levels=2", "frd-masked"),
    *(
        f"phantom-breast:{PHANTOM}",
        f"phantom-lumbar-t1-t2:{PHANTOM}",
        f"phantom-lesions:{PHANTOM}",
        "inception-random",
        "local",
        "ray",
        "swd",
        "ms-ssim",
    ),
)
NEED_PARAMETERS = ("precomputed", "command")


def names(calls: tuple[str, ...]) -> set[str]:
    return {call.partition(":")[0] for call in calls}


@pytest.fixture(scope="module")
def built_in() -> Mapping[str, Report]:
    """The verdicts on the cheap ones, by name; one process tries them all."""
    reports = check(*CHEAP, third_party=False)
    # Two kinds may share a name; then the one that fails counts.
    return {report.name: report for report in sorted(reports, key=lambda report: report.ok, reverse=True)}


@pytest.fixture(scope="module")
def sabotaged() -> Mapping[str, Report]:
    """The verdicts on the sabotaged plugins, by kind and name."""
    return {f"{report.kind} {report.name}": report for report in check(SABOTAGED, third_party=False)}


def failures(report: Report) -> str:
    return "\n".join(f"{verdict.check}: {verdict.text}" for verdict in report.failures)


# -- built-ins


def test_every_built_in_is_listed_here() -> None:
    registry = discover(third_party=False)
    there = {name for kind in KINDS for name in registry.names(kind)}
    assert names(CHEAP) | names(COSTLY) | {*NEED_PARAMETERS} == there


@pytest.mark.parametrize("name", sorted(names(CHEAP)))
def test_a_built_in_passes(name: str, built_in: Mapping[str, Report]) -> None:
    report = built_in[name]
    assert report.ok, failures(report)
    assert all(verdict.text for verdict in report.verdicts if verdict.status == "untried")


@pytest.mark.slow
def test_the_costly_built_ins_pass() -> None:
    for report in check(*COSTLY, third_party=False, timeout=600):
        assert report.ok, f"{report.name}: {failures(report)}"


def test_nothing_of_a_model_that_trains_is_left_out(built_in: Mapping[str, Report]) -> None:
    tried = {verdict.check for verdict in built_in["cyclegan"].verdicts if verdict.status == "passed"}
    assert tried >= {
        "fit",
        "range",
        "determinism by seed",
        "batch size",
        "save and load",
        "resume after a kill",
        "sizes",
    }
    tried = {verdict.check for verdict in built_in["fid"].verdicts if verdict.status == "passed"}
    assert tried >= {"symmetry", "direction", "scale", "cost", "inputs unchanged", "determinism by seed"}


@pytest.mark.slow
def test_translators_with_parameters_pass(tmp_path: Path) -> None:
    images = image_set()
    for pixels, record in zip(255 - images.images, images.slices, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{record.slice_id.replace('/', '_')}.png")
    calls = (f"precomputed:folder={tmp_path}", "command:format=png,run=cp -r {input}/. {output}")
    for report in check(*calls, third_party=False):
        assert report.ok, f"{report.name}: {failures(report)}"
        assert report.of("shapes").status == "passed"
        assert report.of("inputs unchanged").status == "passed"
    assert "floating-point images cannot be written as PNG" in report.of("inputs unchanged").text


def test_a_missing_parameter_is_a_reason_not_a_failure(run_cli: Callable[..., Any]) -> None:
    ran = run_cli("check", "precomputed", "--json")
    assert ran.code == 0
    (report,) = json.loads(ran.out)["reports"]
    by_name = {verdict["check"]: verdict for verdict in report["verdicts"]}
    assert by_name["object"]["status"] == "untried"
    assert "precomputed:folder=PATH" in by_name["object"]["text"]
    assert by_name["range"]["text"] == "it needs 'object', which did not pass"


# -- sabotage


@pytest.mark.parametrize("plugin", FAULTS)
def test_sabotage_is_caught_by_the_check_that_is_meant(plugin: str, sabotaged: Mapping[str, Report]) -> None:
    report = sabotaged[plugin]
    # What draws without a seed also moves the process's random numbers.
    also = {"global state"} if plugin == "translator unseeded" else set()
    assert {verdict.check for verdict in report.failures} == {FAULTS[plugin]} | also
    assert all(failure.text for failure in report.failures)


@pytest.mark.parametrize(
    "plugin", ["translator good", "translator trained", "segmenter threshold", "extractor means", "metric gap"]
)
def test_what_is_not_sabotaged_passes(plugin: str, sabotaged: Mapping[str, Report]) -> None:
    assert sabotaged[plugin].ok, failures(sabotaged[plugin])


def test_reasons_come_with_a_fix(sabotaged: Mapping[str, Report]) -> None:
    tanh = sabotaged["translator tanh"].of("range")
    assert "[0, 1]" in tanh.text
    assert tanh.fix == "Return (x + 1) / 2 if the network ends in tanh"
    assert "ended the process (exit code 3)" in sabotaged["translator crash"].of("shapes").text
    assert sabotaged["translator crash"].of("global state").status == "passed"
    twins = sabotaged["dataset twins"].of("leaks").text
    assert "source3" in twins
    assert "source4" in twins


@pytest.mark.slow
def test_a_heavy_import_is_caught(tmp_path: Path) -> None:
    file = tmp_path / "heavy.py"
    file.write_text(
        "import mtbench\nimport torch\n\n@mtbench.hookimpl\ndef mtbench_translators():\n"
        "    yield mtbench.TranslatorSpec('heavy', ':Heavy', description='it does')\n\n"
        "class Heavy:\n    def translate(self, batch, context):\n        return torch.relu(batch.source)\n"
    )
    (report,) = check(file, third_party=False)
    assert [verdict.check for verdict in report.failures] == ["import cost"]
    assert "imports torch" in report.of("import cost").text


@pytest.mark.slow
def test_a_check_that_hangs_is_named(tmp_path: Path) -> None:
    text = SABOTAGED.read_text().replace('"crash", "good"', '"hangs", "good"')
    (tmp_path / "sleepy.py").write_text(text)
    (report,) = check("hangs", plugin_files=[tmp_path / "sleepy.py"], third_party=False, timeout=20)
    (failure,) = report.failures
    assert failure.check == "shapes"
    assert failure.text == "the check 'shapes' of translator 'hangs' did not end within 20 s"
    assert "--timeout" in failure.fix
    assert report.of("range").text == "it needs 'shapes', which did not pass"


@pytest.mark.slow
def test_a_plugin_that_fails_beside_another_is_caught(tmp_path: Path) -> None:
    rude = tmp_path / "rude.py"
    rude.write_text(
        "import mtbench\nmtbench.Batch.source = property(lambda batch: None)\n\n@mtbench.hookimpl\n"
        "def mtbench_translators():\n    yield mtbench.TranslatorSpec('rude', ':Rude')\n\n"
        "class Rude:\n    def translate(self, batch, context):\n        return batch.source\n"
    )
    # Not in this process, whose batches it would spoil.
    command = [
        sys.executable,
        "-P",
        "-m",
        "mtbench",
        "check",
        "good",
        "--plugin",
        SABOTAGED,
        "--plugin",
        rude,
        "--json",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    (report,) = json.loads(ran.stdout)["reports"]
    (failure,) = [verdict for verdict in report["verdicts"] if verdict["status"] == "failed"]
    assert failure["check"] == "beside other plugins"
    assert "passes alone and fails together with rude" in failure["text"]


# -- the command


def test_the_verdict_is_readable_and_the_exit_code_says_it(
    run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text(
        "import mtbench\n\n@mtbench.hookimpl\ndef mtbench_translators():\n"
        "    yield mtbench.TranslatorSpec('loud', ':Loud', description='it is')\n\n"
        "class Loud:\n    def translate(self, batch, context):\n        return batch.source * 255\n"
    )
    ran = run_cli("check", "one.py")
    assert ran.code == 1
    assert "loud  translator of" in ran.out
    assert "FAILED   range" in ran.out
    assert "fix: Divide them by their largest possible value" in ran.out
    assert "1 failed" in ran.out


def test_a_file_that_cannot_be_imported_has_a_verdict(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import mynet\n")
    ran = run_cli("check", "broken.py", "--json")
    assert ran.code == 1
    (report,) = json.loads(ran.out)["reports"]
    (verdict,) = report["verdicts"]
    assert verdict["check"] == "load"
    assert "mynet" in verdict["text"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(RequestError, match="Did you mean 'identity'"):
        check("identiti", third_party=False)
    with pytest.raises(RequestError, match="unknown metric 'identity'"):
        check("identity", kind="metric", third_party=False)


def test_a_contact_sheet_is_written(tmp_path: Path) -> None:
    (report,) = check("clean", plugin_files=[SABOTAGED], third_party=False, contact_sheet=tmp_path / "sheets")
    assert report.ok, failures(report)
    written = tmp_path / "sheets" / "clean-source.png"
    assert str(written) in report.of("contact sheet").text
    assert np.asarray(Image.open(written)).std() > 10


def test_the_pytest_plugin_has_a_test_for_each_check(tmp_path: Path) -> None:
    """The plugin is named by -p, as an installed mtbench does by its entry point."""
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        # An mtbench that is installed brings it by its entry point, and pytest takes no plugin twice.
        "-p",
        "no:mtbench",
        "-p",
        "mtbench.conformance.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-rA",
    ]
    ran = subprocess.run(
        [*command, "-v", "test_own.py", "--mtbench", "identity"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "test_own.py::test_own PASSED" in ran.stdout
    assert "range PASSED" in ran.stdout
    assert "save and load SKIPPED" in ran.stdout

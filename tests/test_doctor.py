"""``mtbench doctor``, what ``mtbench plan`` says of what is to come, and the completion of shells."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

from mtbench.cli import COMMANDS


def findings(run_cli: Any, *more: Any) -> tuple[int, dict[str, list[dict[str, str]]]]:
    ran = run_cli("doctor", "--json", *more)
    by_subject: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(ran.out):
        by_subject.setdefault(finding["about"], []).append(finding)
    return ran.code, by_subject


class TestDoctor:
    def test_a_machine_in_order(self, run_cli: Any) -> None:
        code, found = findings(run_cli, "--no-plugins")
        assert list(found) == [
            *("versions", "gpu", "precision", "disk", "memory", "weights", "data", "plugins", "executors")
        ]
        assert code == any(each["state"] == "problem" for some in found.values() for each in some)
        assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in found["versions"][0]["text"]
        (fid,) = [each for each in found["weights"] if each["text"].startswith("inception-fid")]
        assert fid["state"] == "ok" or fid["cure"] == "mtbench weights fetch inception-fid"
        texts = [each["text"] for each in found["executors"]]
        assert "local (the default)" in texts
        if not shutil.which("sbatch"):
            slurm = [each for each in found["executors"] if each["text"].startswith("slurm")]
            assert slurm
            assert {each["state"] for each in slurm} == {"note"}

    def test_what_is_wrong_has_a_cure(self, run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
        weights = tmp_path / "weights"
        weights.mkdir()
        (weights / "vgg19-dcbb9e9d.pth").write_bytes(b"not these")
        monkeypatch.setenv("MTBENCH_WEIGHTS", str(weights))
        code, found = findings(run_cli, "--no-plugins", "--plugin", tmp_path / "broken.py")
        assert code == 1
        (broken,) = [each for each in found["plugins"] if each["state"] == "problem"]
        assert "nowhere_to_be_found" in broken["text"]
        assert broken["cure"]
        (altered,) = [each for each in found["weights"] if each["state"] == "problem"]
        assert altered["cure"] == "mtbench weights fetch vgg19-imagenet"
        ran = run_cli("doctor", "--no-plugins", "--plugin", tmp_path / "broken.py")
        assert "fix: mtbench weights fetch vgg19-imagenet" in ran.out

    @pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
    def test_a_store_that_cannot_be_written(self, run_cli: Any, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir(mode=0o500)
        code, found = findings(run_cli, "--store", tmp_path / "store")
        assert (code, found["disk"][0]["state"]) == (1, "problem")


class TestPlan:
    def test_wrong_roots_and_empty_patterns(self, run_cli: Any, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        suite = """
            translators = ["identity"]
            metrics = ["swd"]
            [[datasets]]
            name = "{name}"
            plugin = "folder"
            root = "{root}"
            [datasets.params]
            source = {{ images = "a/*.png", normalise = "none" }}
            target = {{ images = "b/*.png", normalise = "none" }}
        """
        for name, root, expected in (
            ("none", "no/such/folder", "no/such/folder, which does not exist"),
            ("empty", "images", "a/*.png"),
        ):
            (tmp_path / "suite.toml").write_text(suite.format(name=name, root=root))
            ran = run_cli("plan", "suite.toml", "--json")
            problems = json.loads(ran.out)["problems"]
            assert len(problems) == 1, problems
            assert expected in problems[0]
            assert f"problem: {problems[0]}" in run_cli("plan", "suite.toml").out

    def test_what_is_to_come_is_judged_by_earlier_runs(
        self, run_cli: Any, run: Any, toys: Path, tmp_path: Path
    ) -> None:
        new = ("--plugin", toys, "--json")
        (tmp_path / "toy.toml").write_text(toy_suite())
        before = json.loads(run_cli("plan", "toy.toml", *new).out)
        assert all(load["seconds"] is None for load in before["to_come"])
        assert run().code == 0
        assert json.loads(run_cli("plan", "toy.toml", *new).out)["to_come"] == []
        # Another data set of the same kind: every kind of unit is known now.
        after = json.loads(run_cli("plan", "toy.toml", *new, "-d", "toy:slices=3").out)
        assert {(load["stage"], load["plugin"]) for load in after["to_come"]} == {
            (load["stage"], load["plugin"]) for load in before["to_come"]
        }
        assert all(load["seconds"] > 0 for load in after["to_come"])
        assert 0 < after["bytes"] < before["bytes"], "toys are smaller than what is usual"

    def test_disk_space_grows_with_the_size_of_images(self, run_cli: Any) -> None:
        bytes_of = {}
        for size in (64, 128):
            settings = ("-d", f"phantom-breast:size={size}", "-m", "swd", "-t", "identity")
            bytes_of[size] = json.loads(run_cli("plan", "smoke", *settings, "--json").out)["bytes"]
        assert 3 < bytes_of[128] / bytes_of[64] <= 4.001


@pytest.fixture(scope="module")
def command_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``mtbench`` as a command, whatever the environment of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "mtbench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mtbench "$@"\n')
    (folder / "mtbench").chmod(0o755)
    return folder


BASH = """
eval "$(_MTBENCH_COMPLETE=bash_source mtbench)"
COMP_WORDS=(mtbench %s); COMP_CWORD=%d; _mtbench_completion mtbench; echo "${COMPREPLY[@]}"
"""
ZSH = "autoload -U compinit; compinit -D -u; _MTBENCH_COMPLETE=zsh_source mtbench > c.zsh; zsh -n c.zsh && echo sound"
FISH = "_MTBENCH_COMPLETE=fish_source mtbench | source; complete -C 'mtbench data exp'"


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "place", "expected"),
        [("da", 1, {"data"}), ("data exp", 2, {"export"}), ("run --pre", 2, {"--precision"})],
    )
    def test_bash(self, words: str, place: int, expected: set[str], command_folder: Path) -> None:
        assert set(self.shell("bash", BASH % (words, place), command_folder).split()) == expected

    def test_zsh(self, command_folder: Path) -> None:
        assert "sound" in self.shell("zsh", ZSH, command_folder)

    def test_fish(self, command_folder: Path) -> None:
        assert self.shell("fish", FISH, command_folder).split()[0] == "export"

    @pytest.mark.parametrize("shell", ["zsh", pytest.param("fish", marks=pytest.mark.slow)])
    def test_what_a_shell_asks_without_the_shell(self, shell: str, command_folder: Path) -> None:
        """The protocol alone, where that shell is not installed."""
        words = "mtbench " if shell == "fish" else "mtbench"
        asked = {
            "_MTBENCH_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": "" if shell == "fish" else "1",
        }
        ran = subprocess.run([command_folder / "mtbench"], env={**os.environ, **asked}, capture_output=True, text=True)
        assert set(COMMANDS) <= set(ran.stdout.replace(",", "\n").split()), ran

    def shell(self, name: str, script: str, folder: Path) -> str:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        ran = subprocess.run([name, "-c", script], env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

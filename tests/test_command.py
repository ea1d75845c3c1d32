"""Programs of the user's as translators: the built-in ``command``, ``mtbench.toml``, and what a suite may not name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtbench
from mtbench import run
from mtbench.compute.context import Context
from mtbench.data import ImageSet, Slice, Task
from mtbench.errors import DataError, MtbenchError, PluginError, RequestError
from mtbench.registry.discovery import discover
from mtbench.registry.userconfig import UserConfig, config_file

SUITE = """
datasets = ["toy"]
translators = ["command:mymodel"]
metrics = ["toy-mean"]
"""

PROGRAM = """
import os, pathlib, subprocess, sys, time
mode, given, made = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
with open(os.environ.get("CALLS", os.devnull), "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
print("words of the program", file=sys.stderr)
files = sorted(given.iterdir())
if mode == "fails":
    raise SystemExit("no CUDA today")
if mode in ("hangs", "leaves-child"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (pathlib.Path(os.environ["PIDS"])).write_text(f"{os.getpid()} {child.pid}")
    if mode == "hangs":
        time.sleep(300)
if mode == "chatters":
    print("x" * 5_000_000)
for place, file in enumerate(files):
    target = made / file.name
    if mode == "misses-one" and place == 2 or mode == "writes-nothing":
        continue
    if mode == "garbage":
        target.write_text("not an image")
        continue
    import numpy
    if mode == "masks":
        file = pathlib.Path(sys.argv[4]) / file.name
    affine = None
    if file.suffix == ".npy":
        array = numpy.load(file)
    elif file.name.endswith(".nii.gz"):
        import nibabel
        image = nibabel.load(file)
        array, affine = numpy.asarray(image.dataobj), image.affine
    else:
        from PIL import Image
        array = numpy.asarray(Image.open(file))
    white = {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1)
    array = (array * 200 if mode == "masks" else 0 * array + 10 * int(sys.argv[4]) if mode == "seed" else white - array)
    array = (array[:8, :8] if mode == "wrong-size" else array.astype("int32") if mode == "integers" else array)
    if file.suffix == ".npy":
        numpy.save(target, array)
    elif affine is not None:
        nibabel.save(nibabel.Nifti1Image(array, affine), target)
    else:
        Image.fromarray(array).save(target)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "my program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def config(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's mtbench.toml, in its usual place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MTBENCH_CONFIG", raising=False)
    path = tmp_path / "config" / "mtbench" / "mtbench.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"""
[commands.mymodel]
run = ["{sys.executable}", "{program}", "inverts", "{{input}}", "{{output}}"]
env = {{ CALLS = "{tmp_path}/calls" }}
"""
    )
    return path


def slices(count: int = 4, height: int = 12, width: int = 16, dtype: Any = np.uint8) -> ImageSet:
    rng = np.random.default_rng(0)
    white = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    images = (rng.random((count, height, width)) * white).astype(dtype)
    records = tuple(Slice(f"case/{i}: a b", "p", "c", i, spacing=(1.5, 0.5)) for i in range(count))
    masks = (images > white / 2).astype(np.uint8)
    return ImageSet(images, records, masks, Task("t"), "source", "test")


def command(program: Path, mode: str, more: str = "", **params: Any) -> Any:
    registry = discover(third_party=False)
    line = f"{sys.executable} '{program}' {mode} {{input}} {{output}} {more}"
    return registry.get("translator", "command").create(
        registry.get("translator", "command").complete({"run": line, **params})
    )


def translated(translator: Any, images: ImageSet, tmp_path: Path, seed: int = 0) -> np.ndarray[Any, Any]:
    context = Context(scratch=tmp_path, seed=seed)
    return np.stack(list(translator.translate_all(images, context)))


@pytest.mark.parametrize("form", ["auto", "png", "npy", "nifti"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_program_is_run_once_on_all_slices(dtype: Any, form: str, program: Path, tmp_path: Path) -> None:
    images = slices(dtype=dtype)
    translator = command(program, "inverts", format=form, env={"CALLS": str(tmp_path / "calls")})
    if form == "png" and dtype is np.float32:
        with pytest.raises(DataError, match="floating-point images cannot be written as PNG"):
            translated(translator, images, tmp_path)
        return
    output = translated(translator, images, tmp_path)
    np.testing.assert_allclose(output, 1 - images.floats()[:, 0], atol=1e-6)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("command-")] == []


def test_masks_and_seed_reach_the_program(program: Path, tmp_path: Path) -> None:
    images = slices()
    output = translated(command(program, "masks", "{masks}"), images, tmp_path)
    assert images.masks is not None
    np.testing.assert_allclose(output, images.masks * np.float32(200 / 255))
    output = translated(command(program, "seed", "{seed}"), images, tmp_path, seed=7)
    np.testing.assert_allclose(output, 70 / 255)
    spec = discover(third_party=False).get("translator", "command").spec
    for text, drawn, conditional in (("", False, False), ("{seed}", True, False), ("{masks}", False, True)):
        params = {"run": f"p {{input}} {{output}} {text}"}
        assert (spec.stochastic(params), spec.conditional(params)) == (drawn, conditional)


@pytest.mark.parametrize(
    ("mode", "texts"),
    [
        ("fails", ["ended with exit code 1", "words of the program", "no CUDA today"]),
        ("writes-nothing", ["no translation of 00000_case_0_a_b.png (4 of 4", "words of the program"]),
        ("misses-one", ["no translation of 00002_case_2_a_b.png (1 of 4"]),
        ("wrong-size", ["00000_case_0_a_b.png with 8 x 8 pixels", "12 x 16", "words of the program"]),
        ("garbage", ["00000_case_0_a_b.png, but this file cannot be read", "words of the program"]),
    ],
)
def test_what_a_program_does_wrong_is_told_with_its_last_words(
    mode: str, texts: list[str], program: Path, tmp_path: Path
) -> None:
    with pytest.raises(MtbenchError) as error:
        translated(command(program, mode), slices(), tmp_path)
    for text in texts:
        assert text in str(error.value)
    assert not list(tmp_path.glob("command-*"))


def test_integers_of_no_known_range_are_refused(program: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="values of type int32"):
        translated(command(program, "integers", format="npy"), slices(), tmp_path)


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    params = {"name": None, "env": {}, "format": "auto", "timeout": 5.0, "revision": "1"}
    spec = discover(third_party=False).get("translator", "command")
    translator = spec.create({"run": "/nowhere/python {input} {output}", **params})
    with pytest.raises(PluginError, match="'/nowhere/python' cannot be started: No such file"):
        translated(translator, slices(), tmp_path)


def test_megabytes_of_output_do_no_harm(program: Path, tmp_path: Path) -> None:
    assert translated(command(program, "chatters"), slices(), tmp_path).shape == (4, 12, 16)


def alive(pids: Path) -> list[int]:
    """Which of the noted processes still run, after a moment's grace."""
    for _ in range(50):
        running = [int(pid) for pid in pids.read_text().split() if _runs(int(pid))]
        if not running:
            return []
        time.sleep(0.1)
    return running


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_that_hangs_is_stopped_with_its_children(program: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    translator = command(program, "hangs", env={"PIDS": str(pids)}, timeout=1.5)
    with pytest.raises(PluginError, match=r"stopped after 1\.5 seconds.*timeout"):
        translated(translator, slices(), tmp_path)
    assert alive(pids) == []
    translator = command(program, "leaves-child", env={"PIDS": str(pids)})
    translated(translator, slices(), tmp_path)
    assert alive(pids) == []


def test_nothing_is_left_of_a_program_when_mtbench_is_killed(program: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"""
        from pathlib import Path
        from mtbench_plugins.translators.command.process import run
        command = [{sys.executable!r}, {str(program)!r}, "hangs", {str(tmp_path)!r}, {str(tmp_path)!r}]
        run(command, env={{"PIDS": {str(pids)!r}}}, timeout=60, log=Path({str(tmp_path / "log")!r}), where="test")
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) as process:
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert alive(pids) == []


# -- where its command line stands


@pytest.mark.parametrize(
    ("text", "call", "texts"),
    [
        ("", "command", ["no command is set", "[commands.NAME]"]),
        ("", "command:mymodel", ["mtbench.toml", "does not exist"]),
        ("[commands.mymodl]\nrun = 'p {input} {output}'", "command:mymodel", ["'commands.mymodl'", "no [commands.my"]),
        ("[command.mymodel]\nrun = 'p'", "command:mymodel", ["Did you mean 'command'"]),
        ("[commands.m]\nrn = 'p'", "command:m", ["mtbench.toml, line 2", "'rn'", "'run'"]),
        ("[commands.m]\ntimeout = 3", "command:m", ["mtbench.toml, line 1", "has no command"]),
        ("[commands.m]\nrun = [1]", "command:m", ["has no command", "list of strings"]),
        ("[commands.m]\nrun = 'p {input}'", "command:m", ["line 1", "does not contain both folders"]),
        ("[commands.m]\nrun = 'p {inptu} {output}'", "command:m", ["{inptu}", "'input'"]),
        ("[commands.m]\nrun = 'p \"'", "command:m", ["No closing quotation"]),
        ("[commands.m]\nrun = 'p {input} {output}'\ntimeout = 'x'", "command:m", ["'timeout'", "float", "line 1"]),
        ("[commands.m]\nrun = 'p {input} {output}'\nenv = {A = 1}", "command:m", ["env", "strings"]),
        ("commands = 3", "command:m", ["'commands' is not a table of tables", "line 1"]),
        ("[commands", "command:m", ["not valid TOML"]),
        ("", "command:run=p {inptu} {output}", ["{inptu}"]),
    ],
)
def test_what_is_wrong_in_mtbench_toml_is_told(text: str, call: str, texts: list[str], config: Path) -> None:
    config.write_text(text) if text else config.unlink()
    name, _, rest = call.partition(":")
    key, equals, value = rest.partition("=")
    params = {key: value} if equals else {"name": rest} if rest else {}
    with pytest.raises(RequestError) as error:
        discover(third_party=False).get("translator", name).complete(params)
    for part in texts:
        assert part in str(error.value)


def test_mtbench_toml_is_found_where_the_user_says_and_never_beside_a_suite(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mtbench.toml").write_text("[commands.evil]\nrun = 'evil {input} {output}'")
    assert config_file() == UserConfig().path == config
    assert UserConfig().names("commands") == ("mymodel",)
    other = tmp_path / "other.toml"
    other.write_text("[commands.other]\n[executors.slurm]\npartition = 'gpu'")
    monkeypatch.setenv("MTBENCH_CONFIG", str(other))
    assert UserConfig().names("commands") == ("other",)
    assert UserConfig().table("executors", "slurm", ["partition"]).values == {"partition": "gpu"}
    assert UserConfig(config).names("commands") == ("mymodel",)
    for named, how in ((UserConfig(tmp_path / "none"), "--config"), (UserConfig(), "MTBENCH_CONFIG")):
        monkeypatch.setenv("MTBENCH_CONFIG", str(tmp_path / "none"))
        with pytest.raises(RequestError, match=f"{how}: the file .* does not exist"):
            named.names("commands")


def parameters(config: Path, **params: Any) -> dict[str, Any]:
    return discover(third_party=False, config=config).get("translator", "command").complete(params)


def test_what_is_given_by_hand_goes_over_the_table(config: Path) -> None:
    with config.open("a") as file:
        file.write('timeout = 50\nrevision = "2"\n')
    assert parameters(config, name="mymodel")["timeout"] == 50
    assert parameters(config, name="mymodel")["revision"] == "2"
    assert parameters(config, name="mymodel", timeout=7)["timeout"] == 7
    assert "my program.py' inverts '{input}' '{output}'" in parameters(config, name="mymodel")["run"]


# -- suites


@pytest.fixture
def suite(toys: Path) -> Path:
    path = toys.with_name("suite.toml")
    path.write_text(SUITE)
    return path


def rows(folder: Path) -> dict[str, Any]:
    return {r["translator"] or r["role"]: r for r in mtbench.load(folder).to_pylist()}


def test_a_suite_names_the_program_and_mtbench_toml_says_what_it_is(
    suite: Path, toys: Path, config: Path, tmp_path: Path
) -> None:
    def done(**options: Any) -> tuple[dict[str, Any], int]:
        run(str(suite), out=str(tmp_path / "out"), plugin_files=[str(toys)], quiet=True, executor="inline", **options)
        return rows(tmp_path / "out")["command"], len((tmp_path / "calls").read_text().splitlines())

    first, calls = done()
    assert calls == 1
    assert first["status"] == "measured"
    # The command line is in the key and in no table.
    assert json.loads(first["translator_params"]) == {"name": "mymodel"}
    assert str(tmp_path) not in (tmp_path / "out" / "scores.parquet").read_bytes().decode("latin-1")
    assert done()[1] == 1
    text = config.read_text()
    config.write_text(text + "timeout = 99\n")
    assert done()[1] == 1, "a time limit changes no result"
    config.write_text(text + 'revision = "2"\n')
    assert done()[1] == 2
    config.write_text(text.replace('"inverts"', '"inverts-too"'))
    assert done()[1] == 3
    # On the command line, and with another mtbench.toml.
    other = tmp_path / "other.toml"
    other.write_text(text.replace("mymodel", "yours").replace("inverts", "again"))
    assert done(translators=["command:yours"], config=str(other))[1] == 4


def test_a_failing_program_is_a_row_with_its_last_words(
    suite: Path, toys: Path, config: Path, program: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text().replace("inverts", "fails"))
    finished = run(str(suite), out=str(tmp_path / "out"), plugin_files=[str(toys)], quiet=True, executor="inline")
    assert finished.summary.failed
    assert "no CUDA today" in rows(tmp_path / "out")["command"]["note"]


def test_a_suite_that_holds_a_program_is_refused_unless_it_is_trusted(
    toys: Path, program: Path, run_cli: Any, tmp_path: Path
) -> None:
    path = toys.with_name("sent.toml")
    line = f"{sys.executable} '{program}' inverts {{input}} {{output}}"
    path.write_text(
        f"""
        datasets = ["toy"]
        metrics = ["toy-mean"]
        [[translators]]
        name = "harmless"
        plugin = "command"
        params.run = "{line}"
        params.env = {{ CALLS = "{tmp_path}/calls" }}
        """
    )
    arguments = (path, "--plugin", toys)
    for verb in ("run", "plan"):
        ran = run_cli(verb, *arguments)
        assert ran.code == 2
        for text in ("sent.toml, line 4", "would run a program", "my program.py", "--trust-suite"):
            assert text in ran.err
    # An option for that entry that gives something else trusts nothing.
    assert "would run a program" in run_cli("run", *arguments, "-t", "harmless:timeout=5").err
    assert not (tmp_path / "calls").exists()
    ran = run_cli("plan", *arguments, "--trust-suite")
    assert ran.code == 0
    assert "my program.py" in ran.err
    assert not (tmp_path / "calls").exists()
    ran = run_cli("run", *arguments, "--trust-suite", "--out", tmp_path / "out", "-q", "--executor", "inline")
    assert ran.code == 0
    assert ran.err.index("--trust-suite lets this suite run") < ran.err.index("my program.py") < ran.err.index("out")
    assert "env = {'CALLS'" in ran.err
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_a_program_on_the_command_line_needs_no_trust(
    suite: Path, toys: Path, program: Path, run_cli: Any, tmp_path: Path
) -> None:
    line = f"command:run={sys.executable} '{program}' inverts {{input}} {{output}}"
    ran = run_cli("run", suite, "--plugin", toys, "-t", line, "--out", tmp_path / "out", "-q")
    assert ran.code == 0
    assert "--trust-suite" not in ran.err


def test_a_required_table_must_be_there_before_any_work(suite: Path, toys: Path, run_cli: Any, tmp_path: Path) -> None:
    ran = run_cli("run", suite, "--plugin", toys, "--config", tmp_path / "none.toml")
    assert ran.code == 2
    assert "--config: the file" in ran.err


def test_the_programs_environment(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another environment's Python is not led astray by ours."""
    from mtbench_plugins.translators.command.process import run as execute

    monkeypatch.setenv("PYTHONPATH", "/ours")
    show = "import os; print(os.environ.get('PYTHONPATH'), os.environ['OMP_NUM_THREADS'], os.environ['MINE'])"
    log = tmp_path / "log"
    env = {"OMP_NUM_THREADS": "2", "MINE": "yes"}
    execute([sys.executable, "-c", show], env=env, timeout=30, log=log, where="test")
    assert log.read_text().split() == ["None", "2", "yes"]


@pytest.mark.parametrize("wrong", ["too-few", "too-many", "shape", "nan"])
def test_what_translate_all_yields_is_checked(wrong: str, tmp_path: Path) -> None:
    from mtbench.stages.translate import translate

    class Odd:
        def translate_all(self, images: ImageSet, context: Context) -> Any:
            assert images.masks is None, "only a conditional translator is shown masks"
            outputs = list(images.floats()[:, 0])
            yield from {
                "too-few": outputs[:-1],
                "too-many": [*outputs, outputs[0]],
                "shape": [outputs[0][:-1]],
                "nan": [outputs[0], outputs[1] * np.nan, *outputs[2:]],
            }[wrong]

    texts = {"too-few": "3 images", "too-many": "more images", "shape": "'case/0: a b'", "nan": "'case/1: a b'"}
    with pytest.raises(PluginError, match=texts[wrong]):
        list(translate(Odd(), slices(), Context(), conditional=False, depth="uint8", blame="it"))

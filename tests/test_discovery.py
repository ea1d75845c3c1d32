"""Plugins that work, and plugins that are broken in every way while all others work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mtbench import PluginError
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.registry.plugin import OWN_DISTRIBUTION, Plugin
from mtbench.registry.registry import Registry

GOOD = """
import mtbench
@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("good-{0}", ":Good")
class Good:
    def translate(self, batch, context):
        return batch.source
"""
HOOK = "import mtbench\n@mtbench.hookimpl\ndef mtbench_translators():\n    "

BROKEN = {
    "raises on import": ("raise OSError('libfoo is missing')", ["its import failed", "libfoo is missing"], "reinstall"),
    "exits on import": ("raise SystemExit(4)", ["its import failed", "SystemExit"], "reinstall"),
    "does not parse": ("def f(:", ["its import failed", "SyntaxError"], "reinstall"),
    "raising hook": (HOOK + "raise KeyError('oops')", ["mtbench_translators failed", "KeyError"], "correct the hook"),
    "exiting hook": (HOOK + "raise SystemExit(4)", ["mtbench_translators failed"], "correct the hook"),
    "hook that stops half-way": (
        HOOK + "yield mtbench.TranslatorSpec('half', ':X')\n    raise KeyError('oops')",
        ["mtbench_translators failed", "oops"],
        "correct the hook",
    ),
    "yields text": (HOOK + "yield 'cyclegan'", ["yielded str 'cyclegan'"], "yield mtbench.TranslatorSpec objects"),
    "yields another kind": (
        HOOK + "yield mtbench.MetricSpec('m', ':M')",
        ["yielded MetricSpec"],
        "yield mtbench.TranslatorSpec objects",
    ),
    "returns no list": (HOOK + "return 5", ["mtbench_translators failed", "TypeError"], "correct the hook"),
    "impossible name": (HOOK + "yield mtbench.TranslatorSpec('My Net', ':X')", ["usable name"], "correct the hook"),
    "impossible factory": (HOOK + "yield mtbench.TranslatorSpec('net', 'Net')", ["factory is 'Net'"], "correct"),
    "hook with arguments": (
        "import mtbench\n@mtbench.hookimpl\ndef mtbench_translators(registry): return []",
        ["cannot be registered", "registry"],
        "correct its hooks",
    ),
    "unknown hook": (
        "import mtbench\n@mtbench.hookimpl\ndef mtbench_translator(): return []",
        ["unknown hook 'mtbench_translator'", "did you mean 'mtbench_translators'?"],
        "rename the function",
    ),
    "no hook": ("def mtbench_translators(): return []", ["implements no hook"], "@mtbench.hookimpl"),
    "wrapper": (
        "import mtbench\n@mtbench.hookimpl(wrapper=True)\ndef mtbench_translators():\n    yield\n    return []",
        ["mtbench_translators is a hook wrapper"],
        "wrappers are not allowed",
    ),
    "old wrapper": (
        "import mtbench\n@mtbench.hookimpl(hookwrapper=True)\ndef mtbench_translators():\n    yield",
        ["mtbench_translators is a hook wrapper"],
        "wrappers are not allowed",
    ),
}


def set_aside(registry: Registry, name: str, distribution: str = "") -> Plugin:
    (plugin,) = [p for p in registry.plugins if p.name == name and distribution in ("", p.distribution)]
    assert plugin.problem
    assert plugin.remedy
    return plugin


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_set_aside_and_all_others_work(case: str, make_distribution: Any) -> None:
    source, texts, remedy = BROKEN[case]
    make_distribution("acme-good", {"good": "acme_good"}, {"acme_good": GOOD.format("one")})
    make_distribution("acme-broken", {"broken": "acme_broken"}, {"acme_broken": source}, version="2.3")
    registry = discover()
    plugin = set_aside(registry, "broken")
    assert plugin.origin == "acme-broken 2.3"
    for text in texts:
        assert text in plugin.problem
    assert remedy in plugin.remedy
    assert not plugin.specs
    assert {"good-one", "identity"} <= set(registry.names("translator"))


def test_the_list_of_plugins_names_distribution_problem_and_remedy(make_distribution: Any, run_cli: Any) -> None:
    make_distribution("acme-broken", {"broken": "acme_broken"}, {"acme_broken": "raise OSError('libfoo')"})
    ran = run_cli("plugins")
    assert ran.code == 1
    assert "rejected broken of acme-broken 1.0" in ran.out
    assert "libfoo" in ran.out
    assert "reinstall or uninstall acme-broken" in ran.out
    assert "identity" in ran.out
    listing = json.loads(run_cli("plugins", "--json").out)
    assert [p["name"] for p in listing["set_aside"]] == ["broken"]
    assert "identity" in [p["name"] for p in listing["plugins"]]


def test_a_missing_name_says_which_broken_plugin_had_it(make_distribution: Any) -> None:
    make_distribution("acme", {"my-net": "acme_net"}, {"acme_net": "raise OSError('libfoo')"})
    with pytest.raises(RequestError, match=r"unknown translator 'my-net'.*'my-net' of acme 1\.0 was rejected.*libfoo"):
        discover().get("translator", "my-net")


def test_the_second_spec_of_a_name_is_set_aside(make_distribution: Any) -> None:
    make_distribution("acme-b", {"b": "acme_b"}, {"acme_b": GOOD.format("x")})
    make_distribution("acme-a", {"a": "acme_a"}, {"acme_a": GOOD.format("x")})
    taken = GOOD.format("x").replace("good-x", "identity")
    make_distribution("aaa", {"usurper": "aaa_plugin"}, {"aaa_plugin": taken})
    registry = discover()
    assert registry.get("translator", "good-x").plugin.distribution == "acme-a"
    assert registry.get("translator", "identity").plugin.built_in
    loser = set_aside(registry, "b")
    assert "already registered by 'a' of acme-a 1.0" in loser.problem
    assert "uninstall acme-b" in loser.remedy
    assert f"of {OWN_DISTRIBUTION}" in set_aside(registry, "usurper").problem


def test_two_distributions_may_use_one_entry_point_name(make_distribution: Any) -> None:
    make_distribution("acme-a", {"net": "acme_a"}, {"acme_a": GOOD.format("a")})
    make_distribution("acme-b", {"net": "acme_b"}, {"acme_b": GOOD.format("b")})
    registry = discover()
    assert {"good-a", "good-b"} <= set(registry.names("translator"))
    assert not [p.problem for p in registry.plugins if p.problem]


def test_two_entry_points_to_one_module_register_it_once(make_distribution: Any) -> None:
    make_distribution("acme", {"one": "acme_a", "two": "acme_a"}, {"acme_a": GOOD.format("a")})
    registry = discover()
    assert registry.get("translator", "good-a").plugin.name == "one"
    set_aside(registry, "two")


@pytest.mark.parametrize(
    ("file", "content"),
    [("METADATA", None), ("METADATA", b"\xff\xfe\x00"), ("entry_points.txt", b"[mtbench\nx = y")],
    ids=["no metadata", "damaged metadata", "damaged entry points"],
)
def test_a_damaged_installation_takes_nobody_down(file: str, content: bytes | None, make_distribution: Any) -> None:
    info = make_distribution("acme", {"net": "acme_a"}, {"acme_a": GOOD.format("a")})
    if content is None:
        (info / file).unlink()
    else:
        (info / file).write_bytes(content)
    assert "identity" in discover().names("translator")


def test_a_class_that_cannot_be_made_is_an_error_that_names_the_plugin(make_distribution: Any) -> None:
    source = HOOK + "\n    ".join(
        [
            "yield mtbench.TranslatorSpec('gone', 'no_such_module:Net')",
            "yield mtbench.TranslatorSpec('missing', ':Net')",
            "yield mtbench.TranslatorSpec('refuses', ':Picky', params={'a': 1})",
            "yield mtbench.TranslatorSpec('raises', ':Raises')\n",
        ]
    )
    source += "class Picky: pass\nclass Raises:\n    def __init__(self): raise ValueError('no licence key')\n"
    make_distribution("acme", {"net": "acme_net"}, {"acme_net": source})
    registry = discover()
    for name, text in (
        ("gone", "cannot be imported.*no_such_module"),
        ("missing", "cannot be imported.*Net"),
        ("refuses", "does not take the declared parameters.*whose __init__ takes a"),
        ("raises", "no licence key"),
    ):
        registration = registry.get("translator", name)
        with pytest.raises(PluginError, match=rf"translator '{name}' of acme 1\.0: .*{text}"):
            registration.create({n: p.default for n, p in registration.spec.params.items()})


def test_a_plugin_file_is_loaded_with_its_own_classes(tmp_path: Path) -> None:
    path = tmp_path / "my-plugin.py"
    path.write_text(GOOD.format("file"))
    registry = discover([path])
    registration = registry.get("translator", "good-file")
    assert registration.plugin.path == path
    assert registration.plugin.editable
    assert registration.create({}).translate.__func__.__code__.co_filename == str(path)


def test_plugin_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "plugin.py")
        paths[-1].write_text(GOOD.format(folder))
    registry = discover(paths)
    classes = {type(registry.get("translator", f"good-{n}").create({})) for n in ("one", "two")}
    assert len(classes) == 2


def test_a_plugin_file_that_is_not_there_or_broken_is_a_wrong_request(tmp_path: Path, run_cli: Any) -> None:
    with pytest.raises(RequestError, match=r"the plugin file .* does not exist"):
        discover([tmp_path / "nothing.py"])
    (tmp_path / "broken.py").write_text("import no_such_package")
    (tmp_path / "suite.toml").write_text("datasets = ['x']\ntranslators = ['identity']\nmetrics = ['dice']")
    ran = run_cli("run", "suite.toml", "--plugin", "broken.py")
    assert ran.code == 2
    assert "broken.py" in ran.err
    assert "no_such_package" in ran.err
    assert "Put no_such_package.py, or the folder no_such_package, beside" in ran.err


def test_no_plugins_leaves_the_built_in_ones(tmp_path: Path, make_distribution: Any) -> None:
    make_distribution("acme", {"net": "acme_a"}, {"acme_a": GOOD.format("a")})
    (tmp_path / "file.py").write_text(GOOD.format("file"))
    assert "good-a" in discover().names("translator")
    registry = discover([tmp_path / "file.py"], third_party=False)
    assert {p.distribution for p in registry.plugins} == {OWN_DISTRIBUTION, "file"}
    assert {"identity", "good-file"} <= set(registry.names("translator"))
    assert "good-a" not in registry.names("translator")


def test_discovery_imports_no_plugin_class(make_distribution: Any) -> None:
    source = HOOK + "yield mtbench.TranslatorSpec('heavy', 'acme_heavy:Net')"
    make_distribution("acme", {"heavy": "acme_spec"}, {"acme_spec": source, "acme_heavy": "raise OSError('heavy')"})
    assert discover().get("translator", "heavy").spec.factory == "acme_heavy:Net"

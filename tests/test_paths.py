"""The user's folders, and what happens to a user who has no home folder."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mtbench.errors import RequestError
from mtbench.paths import cache_folder, config_folder, expand
from mtbench.registry.userconfig import UserConfig
from mtbench.store.folders import store_folder, weights_folder

VARIABLES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MTBENCH_STORE", "MTBENCH_WEIGHTS", "MTBENCH_CONFIG")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def homeless(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user without an entry in /etc/passwd."""

    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_folders_are_those_of_the_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == home / ".cache/mtbench"
    assert config_folder() == home / ".config/mtbench"
    assert (store_folder(), weights_folder()) == (home / ".cache/mtbench/store", home / ".cache/mtbench/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    assert store_folder() == home / "elsewhere/mtbench/store"
    assert UserConfig().path == home / "settings/mtbench/mtbench.toml"
    monkeypatch.setenv("MTBENCH_STORE", "~/own")
    assert (store_folder(), store_folder("~/typed")) == (home / "own", home / "typed")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=r"cache folder is not known.*Set MTBENCH_STORE and MTBENCH_WEIGHTS, or HOME"
    ):
        store_folder()
    with pytest.raises(RequestError, match=r"'~/data' is in a home folder that is not known"):
        expand("~/data")
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "own"))
    assert store_folder() == tmp_path / "own"


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_there_is_no_configuration() -> None:
    assert UserConfig().names("commands") == ()
    with pytest.raises(RequestError, match=r"configuration folder is not known.*Set MTBENCH_CONFIG, or HOME"):
        UserConfig().table("commands", "mine", ())


@pytest.mark.usefixtures("homeless")
def test_commands_end_with_a_sentence(run_cli: Any) -> None:
    for words in (("plan", "quickstart"), ("store", "show"), ("weights", "list"), ("plan", "~/mine.toml")):
        ran = run_cli(*words)
        assert (ran.code, "unexpected error" in ran.err) == (2, False), words
        assert "home folder" in ran.err


def test_somebody_else_s_home_folder_may_be_unknown(run_cli: Any) -> None:
    ran = run_cli("score", "~nobody-of-this-name/a", "~nobody-of-this-name/b", "-m", "swd", "--device", "cpu")
    assert ran.code == 2
    assert "'~nobody-of-this-name/a' is in a home folder that is not known. Write the whole path." in ran.err

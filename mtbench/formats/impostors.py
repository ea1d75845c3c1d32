"""Files whose content does not match their name, as left by a failed download or copy."""

from __future__ import annotations

from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = b"/annex/objects/"
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")


def impostor(path: Path) -> tuple[str, str] | None:
    """What a file is instead of an image or weights, and the remedy; ``None`` if it may be the right file.

    Recognised: git-LFS and git-annex pointers, HTML and XML pages.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(256)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_LFS):
        return (
            "this is a git-LFS pointer, not the file itself",
            "Fetch the file with `git lfs pull` in the repository, or download it from its 'raw' address",
        )
    if start.startswith((_ANNEX, b".." + _ANNEX)) or (len(start) < 256 and _ANNEX in start):
        return "this is a git-annex pointer, not the file itself", "Fetch the file with `git annex get`"
    if text.startswith(_PAGES):
        return (
            "this is a web page (HTML or XML), not the file",
            "Download it again: the address led to a web page, such as a login or error page",
        )
    return None

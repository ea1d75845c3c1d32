"""The address of a unit's artefact, known once its inputs are; plans and runs both use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import DataError
from mtbench.formats.detached import with_data_files
from mtbench.hashing import hash_of
from mtbench.registry.contracts import FileListing
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec
from mtbench.stages.table import reads
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact, Store, address_of
from mtbench.store.hashes import Hashes, unread


@dataclass(frozen=True)
class Place:
    """The place of a unit's artefact, whether it exists or not.

    Attributes:
        address: in the store.
        files: the fingerprint of the raw files that the unit reads.
        provisional: whether the files are known only by size and modification time; :func:`settle` moves the artefact.
    """

    address: str
    files: str
    provisional: bool


def locate(unit: Unit, registry: Registry, hashes: Hashes, store: Store, artefacts: Mapping[str, Artefact]) -> Place:
    """The place of a unit's artefact, as far as its raw files are known; ``artefacts`` by unit key.

    ``prepare`` reads its files once and hashes them while it decodes them. Before that only their sizes and
    modification times are known; its artefact goes to an address computed from these, and :func:`settle` moves it. If
    the files have names and sizes that were hashed before (a folder that was moved or copied), they are hashed first,
    since they may not need decoding again.

    Raises:
        DataError, PluginError: as :func:`raw_files`.
    """
    listings = raw_files(unit, registry)
    new = unit.stage == "prepare" and not all(hashes.recognises(base, files) for base, files in listings.values())
    digest = fingerprint(listings, hashes, cached_only=new)
    final = None if digest is None else Place(address(unit, artefacts, digest), digest, provisional=False)
    if final and (unit.stage != "prepare" or not listings or store.holds(unit.stage, final.address)):
        return final
    files = _unread(listings)
    place = Place(address(unit, artefacts, files), files, provisional=True)
    # An artefact may still be there: it is about to be moved, or its process was killed before that.
    return place if final is None or store.holds(unit.stage, place.address) else final


def settle(
    unit: Unit, registry: Registry, hashes: Hashes, store: Store, artefacts: Mapping[str, Artefact], files: str
) -> str:
    """Move an artefact from the address of the provisional fingerprint ``files`` to its final address; return that.

    Raises:
        DataError: a raw file has changed in the meantime; the artefact is deleted.
    """
    provisional = address(unit, artefacts, files)
    listings = raw_files(unit, registry)
    if _unread(listings) != files:
        store.drop(unit.stage, provisional)
        raise DataError("raw files changed while they were read", where=unit.name, remedy="Rerun the same command")
    content = fingerprint(listings, hashes) or ""
    where = address(unit, artefacts, content)
    store.move(unit.stage, provisional, where, {"files_fingerprint": content})
    hashes.moved(store.path(unit.stage, provisional), store.path(unit.stage, where))
    return where


Listings = dict[str, tuple[Path, list[Path]]]
"""By the name of each path parameter of a unit: the folder that file names are relative to, and the files."""


def fingerprint(listings: Listings, hashes: Hashes, *, cached_only: bool = False) -> str | None:
    """One hash of raw files; empty if there are none, ``None`` if it is unknown without reading them."""
    parts = {name: hashes.fingerprint(base, files, cached_only=cached_only) for name, (base, files) in listings.items()}
    if any(part is None for part in parts.values()):
        return None
    return hash_of(parts) if parts else ""


def _unread(listings: Listings) -> str:
    return hash_of({name: unread(base, files) for name, (base, files) in listings.items()})


def raw_files(unit: Unit, registry: Registry) -> Listings:
    """The raw files that a unit reads.

    Raises:
        DataError: a file or folder that the unit needs does not exist.
        PluginError: the dataset's plugin cannot list its files.
    """
    listings: Listings = {}
    for name, location in sorted(unit.paths.items()):
        path = Path(location)
        if not path.exists():
            raise DataError(
                f"'{name}' names {location}, which does not exist",
                where=f"{unit.kind or unit.stage} '{unit.plugin or unit.name}'",
                remedy="Correct the path",
            )
        if not (path.is_file() or path.is_dir()):
            raise DataError(
                f"'{name}' names {location}, which is a device or a pipe",
                where=f"{unit.kind or unit.stage} '{unit.plugin or unit.name}'",
                expected="a file or a folder",
            )
        registration = registry.get(DatasetSpec, unit.plugin) if (unit.kind, name) == ("dataset", "root") else None
        plugin = registration.create(unit.arguments) if registration else None
        if registration and isinstance(plugin, FileListing):
            with registration.blaming("files() failed"):
                files = list(plugin.files(path))
        elif registration or path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file())
        else:
            files = [path]
        listings[name] = (path if path.is_dir() else path.parent, with_data_files(files))
    return listings


def contents(unit: Unit, artefacts: Mapping[str, Artefact]) -> dict[str, str]:
    """The content that a unit reads: role to digest; ``artefacts`` by unit key.

    The whole data set and its split are replaced by the content of the subsets that the unit reads, so that a
    corrected mask or a larger test set causes no recomputation of units that never read it.
    """
    digests = {role: artefacts[key].digest for role, key in unit.inputs.items()}
    if "split" not in digests:
        return digests
    split = json.loads((artefacts[unit.inputs["split"]].path / "split.json").read_text(encoding="utf-8"))
    read = reads(unit.options)
    kinds = ("images", "masks") if read.masks else ("images",)
    subsets = {}
    for subset in read.subsets:
        content = split["contents"][subset.domain][subset.split]
        subsets[f"{subset.domain}/{subset.split}"] = {kind: content[kind] for kind in kinds}
    return {
        **{role: digest for role, digest in digests.items() if role not in ("data", "split")},
        "task": split["task"],
        "content": hash_of(subsets),
    }


def address(unit: Unit, artefacts: Mapping[str, Artefact], files: str) -> str:
    """The address of a unit's artefact; ``artefacts`` by unit key."""
    return address_of(unit.request, contents(unit, artefacts), files)

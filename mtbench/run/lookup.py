"""Where a unit's artefact lives, once its inputs are known; used by the plan and by the run alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtbench.discovery import Registered, Registry
from mtbench.errors import DataError, MtbenchError, PluginError
from mtbench.plan import Plan, Unit
from mtbench.store.artefacts import Store, address_of, hash_of
from mtbench.store.hashes import Hashes


def raw_files(unit: Unit, registry: Registry, hashes: Hashes, *, only_known: bool = False) -> str | None:
    """The fingerprint of the raw files a unit reads; empty if none, ``None`` if not known without reading them.

    Raises:
        DataError: a file or folder that the unit needs does not exist.
        PluginError: the dataset's plugin cannot list its files.
    """
    parts: dict[str, str | None] = {}
    for name, written in sorted(unit.paths.items()):
        path = Path(written)
        if not path.exists():
            raise DataError(
                f"'{name}' names {written}, which does not exist",
                where=f"{unit.kind or unit.stage} '{unit.plugin or unit.name}'",
                remedy="Correct the path",
            )
        if name == "root" and unit.kind == "dataset":
            files = _dataset_files(unit, path, registry.get("dataset", unit.plugin))
        else:
            files = _below(path) if path.is_dir() else [path]
        parts[name] = hashes.fingerprint(path if path.is_dir() else path.parent, files, only_known=only_known)
    if any(part is None for part in parts.values()):
        return None
    return hash_of(parts) if parts else ""


def _dataset_files(unit: Unit, root: Path, registered: Registered) -> list[Path]:
    plugin = registered.create({**unit.params, **{k: v for k, v in unit.paths.items() if k in unit.params}})
    if not hasattr(plugin, "files"):
        return _below(root)
    try:
        return list(plugin.files(root))
    except MtbenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"files() failed: {type(error).__name__}: {error}",
            where=f"dataset '{unit.plugin}' of {registered.plugin.origin}",
        ) from error


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def address(unit: Unit, digests: Mapping[str, str], files: str) -> str:
    """The address of a unit's artefact; ``digests`` by unit key."""
    return address_of(unit.request, {role: digests[key] for role, key in unit.inputs.items()}, files)


def states(plan: Plan, registry: Registry, store: Store) -> dict[str, str]:
    """The state of every unit, by key: "cached", "to do", or "pending" where its inputs are not there yet.

    Reads manifests and known hashes only.
    """
    hashes = Hashes(store.root / "hashes.sqlite") if store.root.exists() else None
    digests: dict[str, str] = {}
    found: dict[str, str] = {}
    try:
        for key, unit in plan.units.items():
            if any(given not in digests for given in unit.inputs.values()):
                found[key] = "pending"
                continue
            files: str | None = ""
            if unit.paths:
                try:
                    files = raw_files(unit, registry, hashes, only_known=True) if hashes else None
                except MtbenchError:
                    # The run will say what is wrong with them.
                    files = None
            artefact = store.get(unit.stage, address(unit, digests, files)) if files is not None else None
            if artefact is not None:
                digests[key] = artefact.digest
            found[key] = "cached" if artefact is not None else "to do"
    finally:
        if hashes:
            hashes.close()
    return found

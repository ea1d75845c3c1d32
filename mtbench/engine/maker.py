"""How each artefact is computed once: look it up, lease it, look it up again, compute it, move it, release the lease.

Runs, `mtbench data prepare` and `mtbench store adopt` share a store, including the folders of partial results. All of
them use this module: one process computes a unit, the others wait and reuse its artefact.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mtbench.engine.job import Input, Job
from mtbench.errors import DamagedError, MtbenchError, warn
from mtbench.plan import Plan
from mtbench.plan.address import Place, address, contents, fingerprint, locate, raw_files, settle
from mtbench.registry.codeid import changed_elsewhere
from mtbench.registry.registry import Registry
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.leases import PATIENCE, Lease, Leases

POLL = 1.0
"""Seconds between checks of a unit that another process computes."""


class Maker:
    """The artefacts of one plan's units, and this process's leases on the units that it computes.

    Args:
        plan, registry, store: the units, their plugins, and the store.
        keep: stages whose artefacts are reused even if the code of their plugin has changed.
        read_here: stages whose artefacts this process itself reads; their content is checked when they are looked up.
        note: called with a message about each damaged artefact that was moved.
        patience: seconds without a sign of life after which another process's leases have expired.

    Attributes:
        leases: of this process.
        artefacts: by unit key, of the units that have succeeded.
        places: by unit key, where an artefact is or will be, as far as it is known.
        poll: seconds between checks of a unit that another process computes.
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        store: Store,
        patience: float = PATIENCE,
        *,
        keep: Collection[str] = (),
        read_here: Collection[str] = ("split", "score"),
        note: Callable[[str], None] = warn,
    ) -> None:
        self._plan = plan
        self._keep = keep
        self._registry = registry
        self._store = store
        self._note = note
        self._read_here = read_here
        self._hashes = store.hashes()
        self._doubted: set[str] = set()
        self.places: dict[str, Place] = {}
        self._lease_addresses: dict[str, str] = {}
        self.leases = Leases(store.root, patience)
        self.artefacts: dict[str, Artefact] = {}
        self.poll = min(POLL, patience / 4)

    def close(self) -> None:
        """Release all leases."""
        self.leases.close()
        self._hashes.close()

    def find(self, unit: Unit, *, cached_only: bool = False) -> Artefact | None:
        """The unit's artefact, without a lease.

        Raw files without a known hash are hashed; with ``cached_only`` the result is ``None`` instead.
        """
        files = fingerprint(raw_files(unit, self._registry), self._hashes, cached_only=cached_only)
        if files is None:
            return None
        artefact = self._get(unit, address(unit, self.artefacts, files))
        if artefact is not None:
            self.artefacts[unit.key] = artefact
        return artefact

    def _get(self, unit: Unit, where: str) -> Artefact | None:
        """The artefact at an address, unless code outside the plugin that it was computed with has changed.

        A fit by an installed distribution is kept, and its rows say so; with ``keep`` also fits by earlier code.

        Raises:
            DamagedError: the part that this process reads is damaged; the unit that reads the rest checks the rest.
        """
        artefact = self._store.get(unit.stage, where)
        if artefact is not None and (unit.stage in self._read_here or where in self._doubted):
            artefact.check(self._hashes)
        if unit.stage in self._keep:
            return artefact or self._store.find(unit.stage, lambda manifest: self._replaces(unit, manifest))
        if unit.stage == "fit" and not self._registry.get(unit.kind, unit.plugin).plugin.editable:
            return artefact
        if artefact is not None and changed_elsewhere(artefact.manifest.get("imports", {})):
            return None
        return artefact

    def _get_or_set_aside(self, unit: Unit, where: str) -> Artefact | None:
        """As :meth:`_get`, but a damaged artefact is moved away, so that it is recomputed.

        Raises:
            DamagedError: the artefact is a fit. It may be days of work, and the user may have a copy.
        """
        try:
            return self._get(unit, where)
        except DamagedError as error:
            if unit.stage == "fit":
                raise DamagedError(
                    error.what,
                    where=error.where,
                    remedy=f"Restore it from a copy, or retrain it: `--rerun {unit.key[:12]}` or `--fresh fit`",
                ) from error
            place = self._store.set_aside(unit.stage, where)
            self._note(f"{error.where}: {error.what}. It was moved to {place}; '{unit.name}' is recomputed.")
            return None

    def doubt(self, unit: Unit) -> list[str]:
        """The keys of a unit's inputs that are missing or damaged and must be looked up again."""
        keys = []
        for key in dict.fromkeys(unit.inputs.values()):
            artefact, other = self.artefacts.get(key), self._plan.units[key]
            if artefact is None:
                keys.append(key)
                continue
            self._doubted.add(artefact.path.name)
            try:
                present = self._get(other, artefact.path.name)
            except DamagedError:
                present = None
            if present is None or present.digest != artefact.digest:
                del self.artefacts[key]
                keys.append(key)
        return keys

    def _replaces(self, unit: Unit, manifest: Mapping[str, Any]) -> bool:
        """Whether an artefact differs from the request only in the plugin's code."""
        codeless, files = manifest["unit"].get("codeless"), manifest["files_fingerprint"]
        same: bool = (codeless, files) == (unit.codeless, "")
        return same and bool(manifest["contents"] == contents(unit, self.artefacts))

    def lease(self, unit: Unit, *, fresh: bool = False) -> Artefact | Lease | None:
        """The unit's artefact, or a lease to compute it; ``None`` while another process holds the lease.

        Args:
            unit: a unit whose inputs are computed.
            fresh: take the lease even if the artefact exists.

        Raises:
            DataError, PluginError, StoreError: its address is unknown, or the artefact there cannot be read.
        """
        self.release(unit)
        leased: Place | None = None
        # The previous holder of the lease may have finished, and hashed raw files that had no known hash.
        while (place := locate(unit, self._registry, self._hashes, self._store, self.artefacts)) != leased:
            self.release(unit)
            self.places[unit.key] = place
            # Only the holder of the lease moves an artefact from its provisional address.
            if not (fresh or place.provisional) and (artefact := self._get_or_set_aside(unit, place.address)):
                self.artefacts[unit.key] = artefact
                return artefact
            lease = self.leases.take(place.address)
            if lease is None:
                return None
            self._lease_addresses[unit.key] = place.address
            leased = place
        if fresh:
            return lease
        if self._get_or_set_aside(unit, place.address) is None:
            self._store.drop(unit.stage, place.address)  # of other code
            return lease
        artefact = self.settle(unit)
        self.release(unit)
        return artefact

    def wait(self, unit: Unit, note: Callable[[str], None], *, fresh: bool = False) -> Artefact | Lease:
        """As :meth:`lease`, but wait while another process holds the lease; ``note`` reports that once."""
        notified = False
        while (result := self.lease(unit, fresh=fresh)) is None:
            if not notified:
                note(f"Another process computes '{unit.name}'; waiting for it.")
            notified = True
            time.sleep(self.poll)
        return result

    def job(self, unit: Unit, lease: Lease | None) -> Job:
        """The job that computes a unit under a lease."""
        place = self.places[unit.key]
        inputs = {}
        for role, key in unit.inputs.items():
            artefact = self.artefacts[key]
            inputs[role] = Input(self._plan.units[key].stage, artefact.path.name, artefact.digest)
        return Job(
            unit=unit,
            address=place.address,
            inputs=inputs,
            contents=contents(unit, self.artefacts),
            store=str(self._store.root),
            files=place.files,
            plugin=self._registry.get(unit.kind, unit.plugin).plugin.reference() if unit.plugin else None,
            code=self._plan.codes.get((unit.kind, unit.plugin)),
            lease=lease,
        )

    def settle(self, unit: Unit) -> Artefact:
        """Move the artefact of a unit that was computed under a lease to its final address; the artefact.

        Raises:
            DataError: a raw file has changed in the meantime.
        """
        place = self.places[unit.key]
        if place.provisional:
            where = settle(unit, self._registry, self._hashes, self._store, self.artefacts, place.files)
            place = self.places[unit.key] = Place(where, place.files, provisional=False)
        artefact = self._store.get(unit.stage, place.address)
        assert artefact is not None
        self.artefacts[unit.key] = artefact
        return artefact

    def release(self, unit: Unit) -> None:
        """Release the lease on a unit, if there is one."""
        if unit.key in self._lease_addresses:
            self.leases.release(self._lease_addresses.pop(unit.key))


def states(plan: Plan, registry: Registry, store: Store) -> dict[str, str]:
    """The state of every unit, by key: "cached", "to do", or "pending" if its inputs are not computed yet.

    Reads manifests and known hashes only, and creates no store.
    """
    by_key = {key: "pending" if unit.inputs else "to do" for key, unit in plan.units.items()}
    if not store.root.exists():
        return by_key
    maker = Maker(plan, registry, store)
    try:
        for key, unit in plan.units.items():
            if maker.artefacts.keys() >= set(unit.inputs.values()):
                by_key[key] = "to do"
                # The run reports problems of files and artefacts with the unit concerned.
                with contextlib.suppress(MtbenchError):
                    if maker.find(unit, cached_only=True) is not None:
                        by_key[key] = "cached"
    finally:
        maker.close()
    return by_key

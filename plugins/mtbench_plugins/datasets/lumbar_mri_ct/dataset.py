"""``LumbarMriCt``: MR by the rules of the data set ``folder``, CT from TotalSegmentator's layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mtbench
from mtbench.errors import DataError, ParamError
from mtbench.formats import Cut, Volume
from mtbench.preparation import prepare_cases
from mtbench_plugins.datasets.folder.cases import Group, cut_of, samples_of
from mtbench_plugins.datasets.folder.config import Config
from mtbench_plugins.datasets.folder.listing import ImageEntry, groups, inside, items, raw_files, read_table, split_of
from mtbench_plugins.datasets.lumbar_mri_ct import OBTAIN, describe

LEVELS = tuple(f"{part}{number}" for part, count in (("C", 7), ("T", 12), ("L", 5)) for number in range(1, count + 1))
META = "meta.csv"


class LumbarMriCt:
    """The task; the parameters are described in the spec."""

    def __init__(self, **params: Any) -> None:
        self._params = params
        self._left_out = {str(subject) for subject in params["leave_out"]}
        self._config("")

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files that ``prepare`` opens.

        Raises:
            DataError: a part is missing.
        """
        ct = self._ct(root)
        config = self._config(ct)
        yield from raw_files(root, config.source, _silent)
        yield from (path for path in raw_files(root, config.target, _silent) if self._is_used(path.relative_to(root)))
        if (root / ct / META).is_file():
            yield root / ct / META

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Sagittal slices that show bone, MR first; unusable volumes and patients are skipped.

        Raises:
            DataError: a part is missing, or a table cannot be used.
        """
        if root is None:
            raise DataError(
                "the parameter 'root' is missing", where="dataset 'lumbar-mri-ct'", remedy='Set root = "..."'
            )
        warning = describe(self._params).get("note")
        if warning:
            context.log.append(f"warning: {warning}")
        ct = self._ct(root)
        config = self._config(ct)
        cases: dict[str, Group] = {}
        for domain in config.domains:
            entries = items(root, domain, partial(_left_out, context, domain.name), context.log.append)
            if domain.domain == "target":
                entries = self._with_meta(root / ct, entries, context)
            for group in groups(entries):
                name = group[0].name if len(group) == 1 else group[0].patient
                cases[f"{domain.name} {name}"] = Group(tuple(group), domain)
        yield from prepare_cases(cases, partial(samples_of, config=config), context, processes=True)

    def cut(self, volume: Volume) -> Cut:
        """How a new MR image or volume is cut into slices.

        Raises:
            DataError: it cannot be cut in the same way as the MR files.
        """
        return cut_of(volume, self._config(""))

    def _config(self, ct: str) -> Config:
        params = self._params
        mr = {"name": "MR", "images": "mr/images", "masks": "mr/masks", "plane": "sagittal"}
        mr |= {"min_area": params["min_area"], **params["source"]}
        below = f"{ct}/" if ct else ""
        target = {
            "name": "CT",
            "images": f"{below}*/ct.nii.gz",
            "masks": {"bone": self._bones()},
            "patient": r"([^/]+)/ct\.nii\.gz$",
            "plane": "sagittal",
            "min_area": params["min_area"],
            "crop": params["crop"],
            "normalise": "window",
            "window": params["window"],
            "measure_unit": "HU",
        }
        sized = {name: params[name] for name in ("resize", "size", "mm")}
        return Config.of({"source": mr, "target": target, "labels": {"bone": "nonzero"}, **sized})

    def _bones(self) -> list[str]:
        if self._params["target_masks"]:
            return [str(pattern) for pattern in self._params["target_masks"]]
        levels = [str(level) for level in self._params["levels"]]
        unknown = [level for level in levels if level not in LEVELS]
        if unknown or not levels:
            raise ParamError(
                f"'{unknown[0]}' is not a vertebra of TotalSegmentator"
                if unknown
                else "the list of vertebrae is empty",
                where="dataset 'lumbar-mri-ct', params.levels",
                expected='levels = ["L1", "L2", "L3", "L4", "L5"]',
            )
        if self._params["target_structure"] == "bodies":
            raise ParamError(
                "TotalSegmentator's masks show whole vertebrae",
                where="dataset 'lumbar-mri-ct', params.target_structure",
                expected='target_masks = ["segmentations/NAME.nii.gz"] that name masks of the vertebral bodies',
            )
        sacrum = ["sacrum"] if self._params["sacrum"] else []
        return [f"segmentations/{name}.nii.gz" for name in [*(f"vertebrae_{level}" for level in levels), *sacrum]]

    def _ct(self, root: Path) -> str:
        """The folder with the subjects, relative to the root."""
        name = self._params["ct"]
        places = [root / name] if name else [root, *(path for path in inside(root) if path.is_dir())]
        for place in places:
            if next(place.glob("*/ct.nii.gz"), None) is not None:
                return "" if place == root else place.relative_to(root).as_posix()
        raise DataError("missing: the CT (no folder holds SUBJECT/ct.nii.gz)", where=str(root), remedy=OBTAIN)

    def _is_used(self, path: Path) -> bool:
        return not self._left_out.intersection(path.parts)

    def _with_meta(self, folder: Path, entries: list[ImageEntry], context: mtbench.Context) -> list[ImageEntry]:
        """Subjects with their split in meta.csv, without those that the parameters exclude."""
        meta = _meta(folder / META, context)
        result = []
        for item in entries:
            subject = item.patient
            if subject in self._left_out:
                continue
            if meta and subject not in meta:
                context.leave_out(f"CT {subject}", f"{META} has no row for {subject}.")
                continue
            row = meta.get(subject, {})
            split = split_of(row.get("split", ""), subject, META)
            scanner = " ".join(filter(None, (row.get("manufacturer", ""), row.get("scanner_model", ""))))
            result.append(replace(item, split=split, scanner=scanner))
        without = len(entries) - len(result)
        if self._left_out:
            context.log.append(f"{without} of {len(entries)} CT subjects excluded, {len(self._left_out)} requested")
        return result


def _meta(path: Path, context: mtbench.Context) -> Mapping[str, Mapping[str, str]]:
    if not path.is_file():
        context.log.append(f"no {META}: CT subjects are divided by seed")
        return {}
    rows = read_table(path, ("image_id",), META)
    if rows and "split" not in rows[0]:
        context.log.append(f"{META} has no column 'split': CT subjects are divided by seed")
    return {row["image_id"]: row for row in rows}


def _left_out(context: mtbench.Context, domain: str, case: str, reason: str) -> None:
    context.leave_out(f"{domain} {case}", reason)


def _silent(case: str, reason: str) -> None:
    return None

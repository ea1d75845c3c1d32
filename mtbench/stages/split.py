"""split: assign slices to training, validation and test; always by patient, independent of the order of files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtbench.data import DOMAINS, SPLITS, Slice
from mtbench.errors import DataError
from mtbench.hashing import hash_of
from mtbench.stages import pairs
from mtbench.stages.people import draw, held_out, part, share
from mtbench.stages.table import SplitOptions
from mtbench.stages.work import Work
from mtbench.store.files import sha256_of
from mtbench.store.images import fields_of, read_contents, read_slices


def run(work: Work[SplitOptions, None], folder: Path) -> dict[str, Any]:
    """Write ``split.json``: for each domain the split of every slice, in the order of its images.

    Raises:
        DataError: a patient is in two splits, or there are too few patients.
    """
    data = work.inputs["data"].path
    slices: dict[str, list[Slice]] = {domain: read_slices(data, domain) for domain in DOMAINS}
    options = work.options
    dataset = f"dataset '{work.unit.task.dataset}'"
    own = any(s.split for domain in ("source", "target") for s in slices[domain])
    if options.by == "own" and not own:
        raise DataError("the data set has no split of its own", where=dataset, remedy='Use split = "seed"')
    if options.by == "auto":
        options = SplitOptions("own" if own else "seed")
    table = _read_file(Path(work.unit.paths["split_file"])) if options.by == "file" else {}
    paired = work.unit.task.paired_training
    splits, people = assign(slices, options, table, dataset, paired=paired)
    contents = {domain: _contents(data, domain, slices[domain], splits[domain]) for domain in slices}
    task = sha256_of(data / "task.json")
    settings = {"by": options.by, **options.settings}
    content = {"settings": settings, "sides": splits, "contents": contents, "task": task}
    if options.by == "folds":
        # Tables distinguish data by this hash, which is the same for all folds of a cross-validation.
        whole = {domain: _contents(data, domain, of, ["test"] * len(of))["test"] for domain, of in slices.items()}
        content["of_all_folds"] = {domain: dict.fromkeys(SPLITS, of) for domain, of in whole.items()}
    (folder / "split.json").write_text(json.dumps(content, indent=1, sort_keys=True))
    info: dict[str, Any] = {"by": options.by, "shared": people, "remark": "", "slices": {}, "patients": {}}
    if people and not paired:
        info["remark"] = (
            f"{people['people']} patient{'s are' if people['people'] != 1 else ' is'} in both domains, in the same "
            f"split in both; of the training patients, {people['source']} are source only and {people['target']} "
            "target only. If equal ids mean different people, set split.same_people = false"
        )
    for domain in ("source", "target"):
        of_split: dict[str, set[str]] = {split: set() for split in SPLITS}
        for record, side in zip(slices[domain], splits[domain], strict=True):
            if side:
                of_split[side].add(record.patient_id)
        info["slices"][domain] = {split: splits[domain].count(split) for split in SPLITS}
        info["patients"][domain] = {split: len(patients) for split, patients in of_split.items()}
    return info


def assign(
    slices: Mapping[str, Sequence[Slice]],
    options: SplitOptions,
    table: Mapping[str, str],
    dataset: str,
    *,
    paired: bool = False,
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The split of every slice by domain, and the number of people in both domains; see :func:`part`.

    With ``paired`` training data, people in both domains are in both training sets, and slices without a usable partner
    are in no split.
    """
    both = {s.patient_id for s in slices["source"]} & {s.patient_id for s in slices["target"]}
    common = sorted(both) if options.same_people and options.by != "demo" else []
    assignments: dict[str, str] = {}
    if options.by in ("seed", "folds"):
        # If too few people are in both domains for three splits, all train; in folds each is tested once.
        enough = options.by == "folds" or len(common) >= 3
        assignments = draw(common, options, {}) if enough else dict.fromkeys(common, "train")
    splits: dict[str, list[str]] = {}
    for domain in ("source", "target"):
        splits[domain] = divide(slices[domain], options, f"{dataset}, {domain} domain", domain, table, assignments)
        sides = zip(slices[domain], splits[domain], strict=True)
        assignments = {**assignments, **{s.patient_id: split for s, split in sides if s.patient_id in common}}
    people: dict[str, int] = {}
    if common and not any(f"{domain}/{p}" in table for domain in splits for p in common):
        people = part(slices, splits, common, options.seed, dataset, halve=not paired)
    skipped = pairs.unusable(slices["source"], slices["paired"]) if paired else {}
    splits["source"] = [
        "" if s.slice_id in skipped else split for s, split in zip(slices["source"], splits["source"], strict=True)
    ]
    for domain in splits:
        _check(slices[domain], splits[domain], options.by == "demo", f"{dataset}, {domain} domain")
    split_of = {s.slice_id: split for s, split in zip(slices["source"], splits["source"], strict=True)}
    if options.by == "demo":
        # Slices are divided, and a pair stays in one split.
        splits["target"] = [
            split_of.get(s.partner) or split for s, split in zip(slices["target"], splits["target"], strict=True)
        ]
    pairs.check_splits(slices["target"], splits["target"], split_of, dataset)
    splits["paired"] = [split_of.get(s.slice_id, "") for s in slices["paired"]]
    return splits, people


def _contents(data: Path, domain: str, slices: Sequence[Slice], splits: Sequence[str]) -> dict[str, dict[str, str]]:
    """One hash of the slices' records and images, and one of their masks, for each split.

    Units that read a split are recomputed only if that split changes: a corrected mask of a test slice, or a larger
    test set, requires no training.
    """
    entries: dict[str, dict[str, list[Any]]] = {split: {"images": [], "masks": []} for split in SPLITS}
    for record, split, (image, mask) in zip(slices, splits, read_contents(data, domain), strict=True):
        if split:
            # The place of the file and the publisher's name of its split have no influence.
            entries[split]["images"].append([fields_of(replace(record, file="", split="")), image])
            entries[split]["masks"].append(mask)
    return {split: {what: hash_of(of) for what, of in parts.items()} for split, parts in entries.items()}


def divide(
    slices: Sequence[Slice],
    options: SplitOptions,
    where: str,
    domain: str,
    table: Mapping[str, str],
    assignments: Mapping[str, str],
) -> list[str]:
    """The split of each slice: "train", "validation", "test", or empty if it does not take part.

    ``assignments`` are the splits of people in the other domain, which they keep if splits are drawn.
    """
    by = options.by
    patients = sorted({s.patient_id for s in slices})
    if by == "own" and any(s.split for s in slices):
        return _own(slices, options, where, assignments)
    if by == "own":
        # The other domain has its own split, this one has none.
        by, options = "seed", replace(options, by="seed")
    if by == "file":
        return [_from_table(s, domain, table, where) for s in slices]
    if by == "demo" and len(patients) < 3:
        return _blocks(slices, options)
    if len(patients) < (options.folds if by == "folds" else 3):
        need = f"{options.folds} folds" if by == "folds" else "training, validation and test"
        raise DataError(
            f"{len(patients)} patient{'s' if len(patients) != 1 else ''} cannot be divided into {need}",
            where=where,
            remedy='Use split = "demo" to test the pipeline on few patients; its table says that it is not a result',
        )
    split_of = draw(patients, options, {p: split for p, split in assignments.items() if split})
    return [split_of[s.patient_id] for s in slices]


def _own(slices: Sequence[Slice], options: SplitOptions, where: str, assignments: Mapping[str, str]) -> list[str]:
    splits = [s.split for s in slices]
    for record in slices:
        if record.split not in (*SPLITS, ""):
            raise DataError(
                f"slice '{record.slice_id}' has the split '{record.split}'",
                where=where,
                expected="train, validation or test",
            )
    if "validation" in splits:
        return splits
    # If a data set has only train and test, some of its training patients are used for validation.
    train = sorted({s.patient_id for s in slices if s.split == "train"})
    if len(train) < 2:
        return splits
    holdout = held_out(train, options, assignments)
    return ["validation" if s.split == "train" and s.patient_id in holdout else s.split for s in slices]


def _blocks(slices: Sequence[Slice], options: SplitOptions) -> list[str]:
    order = sorted(range(len(slices)), key=lambda i: (slices[i].patient_id, slices[i].case_id, slices[i].index))
    test = share(len(slices), options.test)
    validation = share(len(slices), options.validation)
    splits = [""] * len(slices)
    for rank, position in enumerate(order):
        rest = len(slices) - rank
        splits[position] = "test" if rest <= test else "validation" if rest <= test + validation else "train"
    return splits


def _from_table(record: Slice, domain: str, table: Mapping[str, str], where: str) -> str:
    for name in (f"{domain}/{record.patient_id}", record.patient_id):
        if name in table:
            return table[name]
    raise DataError(
        f"patient '{record.patient_id}' is not in the split file",
        where=where,
        expected="a line for every patient (split: train, validation, test or none)",
    )


def _read_file(path: Path) -> dict[str, str]:
    """A CSV with the columns patient, split and, optionally, domain."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the split file cannot be read: {error}", where=str(path)) from error
    if not rows or not {"patient", "split"} <= set(rows[0][1]):
        raise DataError(
            "the split file has missing columns",
            where=str(path),
            expected="a CSV with the columns patient, split[, domain]",
        )
    table: dict[str, str] = {}
    for line, row in rows:
        if row["split"] is None:
            raise DataError(f"line {line} has too few columns", where=str(path), expected="patient, split[, domain]")
        name = f"{row['domain']}/{row['patient']}" if row.get("domain") else row["patient"]
        split = {"val": "validation", "none": ""}.get(row["split"].strip(), row["split"].strip())
        if split not in (*SPLITS, ""):
            raise DataError(
                f"'{row['split']}' is not a split", where=str(path), expected="train, validation, test or none"
            )
        if table.setdefault(name, split) != split:
            raise DataError(
                f"patient '{row['patient']}' is in two splits: {table[name]} and {split}",
                where=str(path),
                remedy="List each patient with one split",
            )
    return table


def _check(slices: Sequence[Slice], splits: Sequence[str], demo: bool, where: str) -> None:
    split_of: dict[str, str] = {}
    for record, split in zip(slices, splits, strict=True):
        if not split:
            continue
        first = split_of.setdefault(record.patient_id, split)
        if first != split and not demo:
            raise DataError(
                f"patient '{record.patient_id}' is in two splits: {first} and {split}",
                where=where,
                expected="all slices of a patient in one split",
                remedy="Correct the split; slices of one patient in two splits make every score too good",
            )
    for split in SPLITS:
        if split not in splits:
            raise DataError(
                f"no slice is in the {split} split",
                where=where,
                remedy="Change the fractions or the split file",
            )

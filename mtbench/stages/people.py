"""Patients that are in both domains: each is in one split and provides training data of one domain only.

Unpaired training assumes that the two domains show different people. A person who is in the training data of one domain
and in the test data of the other makes scores too good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtbench.compute.seeds import generator
from mtbench.data import Slice
from mtbench.errors import DataError
from mtbench.stages.table import SplitOptions


def draw(patients: Sequence[str], options: SplitOptions, assignments: Mapping[str, str]) -> dict[str, str]:
    """The split of each patient, by seed or fold; patients in ``assignments`` keep theirs and count.

    Each patient has its own draw, so that adding a patient does not shuffle the others.
    """
    order = sorted(
        (p for p in patients if p not in assignments), key=lambda p: float(generator("split", options.seed, p).random())
    )
    before = [assignments[p] for p in patients if p in assignments]
    count = len(order) + len(before)
    if options.by == "folds":
        # The folds continue after those of the assigned patients.
        assert options.fold is not None
        test = order[(options.fold - len(before)) % options.folds :: options.folds]
        rest = [p for p in order if p not in set(test)]
        size = share(count - len(test) - before.count("test"), options.validation)
        validation = rest[: max(size - before.count("validation"), 0)]
    else:
        test = order[: max(share(count, options.test) - before.count("test"), 0)]
        rest = order[len(test) :]
        size = max(share(count, options.validation) - before.count("validation"), 0)
        validation = rest[: size if "train" in before else min(size, len(rest) - 1)]
    return {
        **dict.fromkeys(order, "train"),
        **dict.fromkeys(validation, "validation"),
        **dict.fromkeys(test, "test"),
        **{p: assignments[p] for p in patients if p in assignments},
    }


def held_out(patients: Sequence[str], options: SplitOptions, assignments: Mapping[str, str]) -> set[str]:
    """The training patients to use for validation if a data set names none; at least one remains for training."""
    validation = {p for p in patients if assignments.get(p) == "validation"}
    order = sorted(
        (p for p in patients if p not in assignments), key=lambda p: float(generator("split", options.seed, p).random())
    )
    size = min(share(len(patients), options.validation), len(patients) - 1)
    return validation | set(order[: max(size - len(validation), 0)])


def part(
    slices: Mapping[str, Sequence[Slice]],
    splits: dict[str, list[str]],
    common: Sequence[str],
    seed: int,
    where: str,
    *,
    halve: bool = True,
) -> dict[str, int]:
    """Assign each shared training patient to one domain, half to each; it does not take part in the other.

    Without ``halve`` (a paired task) they train in both.

    Returns:
        The number of shared people, and of those that train as source and as target.

    Raises:
        DataError: a patient is in one split as source and in another as target.
    """
    of: dict[str, dict[str, str]] = {p: {} for p in common}
    for domain in ("source", "target"):
        for record, split in zip(slices[domain], splits[domain], strict=True):
            if split and record.patient_id in of:
                of[record.patient_id][domain] = split
    for patient, pair in of.items():
        if len(set(pair.values())) > 1:
            raise DataError(
                f"patient '{patient}' is in the {pair['source']} split as source and in the {pair['target']} split "
                "as target",
                where=where,
                expected="one split for a person in both domains",
                remedy="Correct the split, or set split.same_people = false if they are different people",
            )
    training = [p for p, pair in of.items() if pair.get("source") == pair.get("target") == "train"]
    if not halve:
        return {"people": len(common), "source": len(training), "target": len(training)}
    order = sorted(training, key=lambda p: float(generator("half", seed, p).random()))
    out = {"source": set(order[1::2]), "target": set(order[::2])}
    for domain, leaving in out.items():
        splits[domain][:] = [
            "" if record.patient_id in leaving else split
            for record, split in zip(slices[domain], splits[domain], strict=True)
        ]
    return {"people": len(common), "source": len(out["target"]), "target": len(out["source"])}


def share(count: int, fraction: float) -> int:
    """A fraction of a number, but at least one."""
    return max(1, round(count * fraction))

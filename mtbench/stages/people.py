"""People whom both domains hold: one side for each, and training data of one domain only.

Unpaired training supposes that the two domains show different people. And a person who is trained on in one domain
and tested on in the other makes scores too good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtbench.compute.seeds import generator
from mtbench.data import Slice
from mtbench.errors import DataError
from mtbench.stages.table import SplitOptions


def draw(patients: Sequence[str], options: SplitOptions, assignments: Mapping[str, str]) -> dict[str, str]:
    """The side of each patient, by seed or fold; those that are ``assignments`` keep theirs and count.

    Each patient draws for itself, so that adding one does not shuffle the others.
    """
    order = sorted(
        (p for p in patients if p not in assignments), key=lambda p: float(generator("split", options.seed, p).random())
    )
    before = [assignments[p] for p in patients if p in assignments]
    count = len(order) + len(before)
    if options.by == "folds":
        # The folds go on where those of the decided patients end.
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
    """Of training patients, those that serve for validation where a data set names none; at least one trains."""
    validation = {p for p in patients if assignments.get(p) == "validation"}
    order = sorted(
        (p for p in patients if p not in assignments), key=lambda p: float(generator("split", options.seed, p).random())
    )
    size = min(share(len(patients), options.validation), len(patients) - 1)
    return validation | set(order[: max(size - len(validation), 0)])


def part(
    slices: Mapping[str, Sequence[Slice]], splits: dict[str, list[str]], common: Sequence[str], seed: int, where: str
) -> dict[str, int]:
    """Give each shared training patient to one domain, half to each; in the other they take no part.

    Returns:
        How many people are shared, and how many of them train as source and as target.

    Raises:
        DataError: somebody is on one side as source and on another as target.
    """
    of: dict[str, dict[str, str]] = {p: {} for p in common}
    for domain in ("source", "target"):
        for record, split in zip(slices[domain], splits[domain], strict=True):
            if split and record.patient_id in of:
                of[record.patient_id][domain] = split
    for patient, pair in of.items():
        if len(set(pair.values())) > 1:
            raise DataError(
                f"patient '{patient}' is on the {pair['source']} side as source and on the {pair['target']} side "
                "as target",
                where=where,
                expected="one side for a person whom both domains hold",
                remedy="Correct the split, or say split.same_people = false if they are different people",
            )
    training = [p for p, pair in of.items() if pair.get("source") == pair.get("target") == "train"]
    order = sorted(training, key=lambda p: float(generator("half", seed, p).random()))
    out = {"source": set(order[1::2]), "target": set(order[::2])}
    for domain, leaving in out.items():
        splits[domain][:] = [
            "" if record.patient_id in leaving else split
            for record, split in zip(slices[domain], splits[domain], strict=True)
        ]
    return {"people": len(common), "source": len(out["target"]), "target": len(out["source"])}


def share(count: int, fraction: float) -> int:
    """A fraction of so many, but one at least."""
    return max(1, round(count * fraction))

"""The stages: their names, how they run, and the options that the plan sets. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mtbench.data import Domain, Role, Split
from mtbench.integers import Seed, whole
from mtbench.typed import Record, Rule

SplitWay = Literal["own", "seed", "file", "folds", "demo"]
SplitBy = Literal["auto", SplitWay]
Fraction = Annotated[float, Rule("a fraction between 0 and 1", lambda part: 0 < part < 1, of_type=False)]


@dataclass(frozen=True)
class Subset(Record):
    """The slices of one domain in one split.

    Attributes:
        domain: "source", "target" or "paired".
        split: "train", "validation" or "test".
    """

    domain: Domain
    split: Split


SOURCE_TEST = Subset("source", "test")
TARGET_TEST = Subset("target", "test")
TARGET_TRAIN = Subset("target", "train")
PAIRED_TEST = Subset("paired", "test")


@dataclass(frozen=True)
class Reads:
    """The part of a data set that a unit reads; its address depends only on the content of that part.

    Attributes:
        subsets: the subsets whose images are read.
        masks: whether their masks are read too.
    """

    subsets: tuple[Subset, ...] = ()
    masks: bool = False


@dataclass(frozen=True)
class Options(Record):
    """What a stage needs besides its plugin, parameters and inputs; part of the unit's key."""


@dataclass(frozen=True)
class PrepareOptions(Options):
    """Options of ``prepare``: none."""


@dataclass(frozen=True)
class SplitOptions(Options):
    """How the patients of a data set are split.

    Attributes:
        by: "own" (the publisher's split), "seed", "file", "folds", "demo" (slices, not patients), or "auto": "own" if
            the data set has a split, else "seed".
        seed: of the draw.
        validation, test: fractions of the patients.
        same_people: whether a patient id in both domains is one person; see ``mtbench/stages/people.py``.
        file: a CSV file, as the suite names it.
        folds, fold: the number of folds, and the fold.
    """

    by: SplitBy = "auto"
    seed: Seed = 0
    validation: Fraction = 0.15
    test: Fraction = 0.2
    same_people: bool = True
    file: Annotated[str, Rule('file = "split.csv"', bool, "split by file has no 'file'", of_type=False)] = ""
    folds: Annotated[int, whole(2, 1000)] = 5
    fold: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that apply to this kind of split, as suites and tables write them."""
        return {name: getattr(self, name) for name in SPLIT_WAYS.get(self.by, {})}


SPLIT_WAYS: Mapping[SplitBy, Mapping[str, Any]] = {
    "own": {"seed": 0, "validation": 0.15, "same_people": True},
    "seed": {"seed": 0, "validation": 0.15, "test": 0.2, "same_people": True},
    "file": {"seed": 0, "file": "", "same_people": True},
    "folds": {"seed": 0, "folds": 5, "validation": 0.15, "same_people": True},
    "demo": {"seed": 0, "validation": 0.2, "test": 0.3},
}
"""The kinds of split that a suite may name, and the settings of each with their defaults."""


@dataclass(frozen=True)
class FitOptions(Options):
    """Options of a fit on the training and validation slices.

    Attributes:
        domains: the domains whose slices it reads.
        masks: whether it reads their masks.
        keep: how many checkpoints it keeps along the way, the final one included.
        paired_fraction: the fraction of the training patients whose pairs it receives; see
            ``mtbench/stages/pairs.py``.
        target_patients: of how many training patients of the target domain, or pairs of how many, it receives the
            slices; 0: of all.
    """

    domains: tuple[Domain, ...] = ()
    masks: bool = False
    keep: int = 1
    paired_fraction: float = 1.0
    target_patients: int = 0


@dataclass(frozen=True)
class ImageOptions(Options):
    """Options of ``extract`` and ``segment``.

    Attributes:
        candidate: the slices that are read, or whose translations are.
    """

    candidate: Subset = SOURCE_TEST


@dataclass(frozen=True)
class TranslateOptions(ImageOptions):
    """Options of ``translate``.

    Attributes:
        conditional: whether the translator receives the slices' masks.
        part: use the weights after 1/``part`` of the training; 1: the final ones.
    """

    conditional: bool = False
    part: int = 1


@dataclass(frozen=True)
class FeatureInput(Record):
    """Extracted features that a metric needs.

    Attributes:
        of: "candidate", "reference" or "training".
        arrays: the names of the arrays.
        input: the role of the artefact that contains them.
    """

    of: Literal["candidate", "reference", "training"]
    arrays: tuple[str, ...]
    input: str


@dataclass(frozen=True)
class ScoreOptions(ImageOptions):
    """Options of ``score``.

    Attributes:
        roles: what the metric reads, by role.
        features: the extracted features it reads.
        reference: the real target slices that it compares with.
        training: the target's training slices, if it reads them.
        balanced: whether both sides are drawn to the same number.
        draws: number of draws.
        sampling_seed: seed of the draws and of resampling.
        like: draw at most as many slices as this subset has.
    """

    roles: tuple[Role, ...] = ()
    features: tuple[FeatureInput, ...] = ()
    reference: Subset | None = None
    balanced: bool = False
    draws: int = 1
    sampling_seed: int = 0
    like: Subset | None = None
    training: Subset | None = None


def reads(options: Options) -> Reads:
    """The part of the data set that a unit with these options reads."""
    match options:
        case FitOptions():
            splits: tuple[Split, ...] = ("train", "validation")
            return Reads(tuple(Subset(domain, split) for domain in options.domains for split in splits), options.masks)
        case TranslateOptions():
            return Reads((options.candidate,), masks=options.conditional)
        case ScoreOptions():
            others = (options.reference, options.like, options.training)
            counted = (subset for subset in others if subset is not None)
            paired = (Subset("paired", options.candidate.split),) if "paired" in options.roles else ()
            masks = "reference_masks" in options.roles
            # The source slices of a truth, whose masks are also its own.
            of_truth = options.candidate.domain == "paired" and (masks or "source" in options.roles)
            anatomy = (Subset("source", options.candidate.split),) if of_truth else ()
            return Reads((options.candidate, *counted, *paired, *anatomy), masks)
        case ImageOptions():
            return Reads((options.candidate,))
        case _:
            return Reads()


@dataclass(frozen=True)
class Stage:
    """A kind of unit. ``run(work, folder) -> info`` in the module of the same name in this package executes it.

    Attributes:
        name: its name.
        revision: increased if the same inputs would give another artefact; part of every unit's key.
        options: the class of its units' options.
        exact: whether its result is independent of precision and threads, which then are not in the key.
        uses_device: whether it runs a network, and so may need a GPU.
        resumable: whether it keeps a partial folder, from which the next attempt at the same unit resumes.
        gpu_batch: default of slices per batch on a GPU, which small batches leave idle.
        typical_bytes: size of an artefact if the store has none: a few hundred slices of 256 x 256.
    """

    name: str
    revision: int
    options: type[Options]
    exact: bool = field(default=False, kw_only=True)
    uses_device: bool = field(default=False, kw_only=True)
    resumable: bool = field(default=False, kw_only=True)
    gpu_batch: int = field(default=32, kw_only=True)
    typical_bytes: float = field(default=20e6, kw_only=True)

    def batch_size(self, device: str, on_cpu: int = 8) -> int:
        """The default of slices per batch."""
        return self.gpu_batch if device.startswith("cuda") else on_cpu


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare", 3, PrepareOptions, exact=True, resumable=True, typical_bytes=200e6),
        Stage("split", 6, SplitOptions, exact=True, typical_bytes=1e4),
        Stage("fit", 2, FitOptions, uses_device=True, resumable=True, typical_bytes=100e6),
        Stage("translate", 1, TranslateOptions, uses_device=True),
        Stage("extract", 1, ImageOptions, uses_device=True, gpu_batch=256),
        Stage("segment", 1, ImageOptions, uses_device=True),
        Stage("score", 2, ScoreOptions, typical_bytes=1e5),
    )
}
"""Every stage by its name, in the order of the graph."""

CONFIDENCE = "log/confidence.npy"
"""In a segment artefact, N x H x W uint8, 255 for a probability of 1. It is no content: no unit reads it, and it may
round differently where labels are equal."""

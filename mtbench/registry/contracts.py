"""The methods of each kind of plugin, which the class named by a spec's factory implements.

mtbench checks for the methods of a kind's protocol when it creates the object. Protocols that say "may" are optional:
mtbench uses them if an object has all of their methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from mtbench.analysis.model import ResultsTable
    from mtbench.challenges.records import CaseScores, ChallengeCase, Inspection, Ranking, Submission, Team
    from mtbench.compute.context import Context
    from mtbench.data import Batch, ImageSet, MetricInputs, Sample, Score, TrainingData
    from mtbench.engine.executor import Session
    from mtbench.engine.job import Job, Outcome
    from mtbench.formats import Cut, Volume
    from mtbench.registry.challenges import ChallengeMetric
    from mtbench.stages.intervals import Measure


@runtime_checkable
class Trainable(Protocol):
    """A segmenter, and a translator or an extractor that trains."""

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on training and validation slices."""

    def save(self, folder: Path) -> None:
        """Write the trained model to a folder; at least one file."""

    def load(self, folder: Path) -> None:
        """Read the files that ``save`` wrote. The device is unknown here: move networks when images arrive."""


@runtime_checkable
class Translator(Protocol):
    """A translator that works by batches; if it trains, it is also :class:`Trainable`."""

    def translate(self, batch: Batch, context: Context) -> torch.Tensor:
        """Translate source slices to target slices: float, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class WholeSetTranslator(Protocol):
    """A translator may take all slices at once instead of batches."""

    def translate_all(self, images: ImageSet, context: Context) -> Iterable[NDArray[Any]]:
        """Yield a float array, H x W, in [0, 1], for each slice of ``images`` in order."""


@runtime_checkable
class Dataset(Protocol):
    """A dataset. Its module must not import torch or MONAI at the top, because planning may create the object."""

    def prepare(self, root: Path | None, context: Context) -> Iterable[Sample]:
        """Yield every slice, with its mask if the domain has masks; ``root`` is the user's folder of raw files."""


@runtime_checkable
class FileListing(Protocol):
    """A dataset may list its raw files; otherwise every file below the root counts."""

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files whose content identifies the data."""


@runtime_checkable
class VolumeCutting(Protocol):
    """A dataset may define how an image or volume that is not part of it is cropped and scaled."""

    def cut(self, volume: Volume) -> Cut:
        """How a new volume of the source domain is converted to slices."""


@runtime_checkable
class Segmenter(Trainable, Protocol):
    """A segmenter."""

    def segment(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        """Predict integer labels, B x H x W, of images: float32, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class Confident(Protocol):
    """A segmenter may say how sure it is of each label, which the ledger of changes shows."""

    def segment_with_confidence(self, images: torch.Tensor, context: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """The labels that ``segment`` predicts, and the probability of each: float, B x H x W, in [0, 1]."""


@runtime_checkable
class Extractor(Protocol):
    """A feature network; if it trains, it is also :class:`Trainable`. A segmenter may offer features of its own."""

    def extract(self, images: torch.Tensor, context: Context) -> Mapping[str, torch.Tensor]:
        """Compute arrays by name, first axis B, of images: float32, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class WeightsRecord(Protocol):
    """An extractor may state the weight file that it has read; rows record it."""

    weights_sha256: str


@runtime_checkable
class Metric(Protocol):
    """A metric."""

    def compute(self, inputs: MetricInputs, context: Context) -> Score | Sequence[Score]:
        """Compute the score, or one for each label. Raise an error if it cannot be computed; NaN is rejected."""


@runtime_checkable
class Resampling(Protocol):
    """A metric may offer a faster computation of its value on subsets of the slices, for intervals."""

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """Compute once what all subsets share; all subsets use the same random numbers."""


@runtime_checkable
class Executor(Protocol):
    """An executor.

    The scheduler calls ``start`` once, ``submit`` for jobs whose inputs are computed (one, and more while fewer than
    ``slots`` are running), ``wait`` for ended jobs, and ``close`` at the end in all cases. Start expensive resources in
    the first ``submit``: if everything is cached, it is never called.

    A worker process runs a job with ``mtbench worker UNIT.json``, or :func:`mtbench.engine.worker.execute_file`.
    """

    slots: int
    """Units that run at the same time; see also :class:`GpuSlots`."""
    limits: bool
    """Whether it enforces the time and memory limits of jobs."""

    def problems(self, device: str) -> list[str]:
        """The problems that prevent it from running anything, a sentence each; called before any unit starts.

        ``device`` is the requested device; empty for the best available one.
        """

    def start(self, session: Session) -> None:
        """Get ready."""

    def submit(self, job: Job) -> None:
        """Accept a job; return at once or after running it."""

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcomes of ended jobs, as soon as there are any; empty if none ends within ``seconds``."""

    def close(self) -> None:
        """Stop all running jobs and release all resources."""


@runtime_checkable
class Placement(Protocol):
    """An executor may state where its units run."""

    here: bool
    """Whether all units run on this machine; then a requested GPU must be on it."""


@runtime_checkable
class GpuSlots(Protocol):
    """An executor may have separate slots for units that use a GPU.

    A score, which is computed on the CPU, then never keeps a GPU idle. The table of stages says which units use a GPU
    (``mtbench.stages.STAGES``, ``uses_device``).
    """

    gpu_slots: int
    """Units on GPUs at the same time; ``slots`` are then for the others. 0 if no unit gets a GPU: all use ``slots``."""


@runtime_checkable
class Exporter(Protocol):
    """A table format."""

    def export(self, table: ResultsTable) -> str:
        """The table as text."""


@runtime_checkable
class Challenge(Protocol):
    """A challenge: ``inspect`` is called once, ``measure`` for each case, and ``document`` once."""

    def inspect(self, submission: Submission) -> Inspection:
        """Match the files of a submission with those of the truth, and read them: all problems, not the first."""

    def measure(self, case: ChallengeCase) -> Mapping[str, float]:
        """The scores of one case by metric name, as the challenge computes them; omit what has no value.

        Further names may be added for ``document``; only the spec's metrics get rows.
        """

    def document(self, scores: Sequence[CaseScores]) -> Mapping[str, Any]:
        """The content of the JSON file that the challenge's own program writes for these cases."""


@runtime_checkable
class RankingRule(Protocol):
    """A challenge may rank teams."""

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """Rank teams, all of which have these metrics. Raise an error if the rule needs what they lack."""


@runtime_checkable
class ResultsFile(Protocol):
    """A challenge may read the files that its ``document`` describes, for ``mtbench rank``."""

    def read_document(self, document: Any) -> Mapping[str, Mapping[str, float]] | None:
        """Metric name to the values by case, or to the mean as case ""; ``None`` for a file of another kind."""


@runtime_checkable
class ExampleSubmission(Protocol):
    """A challenge may write a small submission without errors, for ``mtbench check`` and for users to look at."""

    def example(self, folder: Path) -> Submission:
        """Write at least two cases below ``folder``; every prediction equals its truth."""


def methods(contract: type) -> list[str]:
    """The methods of a protocol, in the order of their definition."""
    members = (item for base in reversed(contract.__mro__) for item in vars(base).items())
    return [name for name, value in members if callable(value) and not name.startswith("_")]

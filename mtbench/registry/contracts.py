"""What the object of each kind of plugin does: the class that a spec's factory names has these methods.

The methods of a kind's protocol are looked for when the object is made. Those of the protocols that say "may" are
optional: an object that has them all is used that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from mtbench.analysis.model import ResultsTable
    from mtbench.compute.context import Context
    from mtbench.data import Batch, ImageSet, MetricInputs, Sample, Score, TrainingData
    from mtbench.engine.executor import Session
    from mtbench.engine.job import Job, Outcome
    from mtbench.formats import Cut, Volume
    from mtbench.stages.intervals import Measure


@runtime_checkable
class Trainable(Protocol):
    """A segmenter, and a translator that trains."""

    def fit(self, data: TrainingData, context: Context) -> None:
        """Learn from training and validation slices."""

    def save(self, folder: Path) -> None:
        """Write what was learnt to a folder; at least one file."""

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote. The device is not known here: move networks where the images come."""


@runtime_checkable
class Translator(Protocol):
    """A translator, unless it is a :class:`WholeSetTranslator`; one that trains is :class:`Trainable` too."""

    def translate(self, batch: Batch, context: Context) -> torch.Tensor:
        """Source slices as target slices: float, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class WholeSetTranslator(Protocol):
    """A translator may take all slices at once, in place of batches."""

    def translate_all(self, images: ImageSet, context: Context) -> Iterable[NDArray[Any]]:
        """A float array, H x W, in [0, 1], for each slice of ``images`` in order."""


@runtime_checkable
class Dataset(Protocol):
    """A dataset. Its module imports neither torch nor MONAI at the top: planning may make the object."""

    def prepare(self, root: Path | None, context: Context) -> Iterable[Sample]:
        """Every slice, with its mask where the domain has masks; ``root`` is the folder that the user named."""


@runtime_checkable
class FileListing(Protocol):
    """A dataset may name its raw files; otherwise every file below the root is one."""

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files whose content identifies the data."""


@runtime_checkable
class VolumeCutting(Protocol):
    """A dataset may say how an image or volume that is not part of it would be cut and scaled."""

    def cut(self, volume: Volume) -> Cut:
        """How a new volume of the source domain becomes slices."""


@runtime_checkable
class Segmenter(Trainable, Protocol):
    """A segmenter."""

    def segment(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        """Integer labels, B x H x W, of images: float32, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class Extractor(Protocol):
    """A feature network."""

    def extract(self, images: torch.Tensor, context: Context) -> Mapping[str, torch.Tensor]:
        """Arrays by name, first axis B, of images: float32, B x 1 x H x W, in [0, 1]."""


@runtime_checkable
class WeightsRecord(Protocol):
    """An extractor may say which weight file it has read; it stands on the rows."""

    weights_sha256: str


@runtime_checkable
class Metric(Protocol):
    """A metric."""

    def compute(self, inputs: MetricInputs, context: Context) -> Score | Sequence[Score]:
        """The number, or one for each label. What cannot be computed raises; NaN is refused."""


@runtime_checkable
class Resampling(Protocol):
    """A metric may offer a faster way to its value on a part of the slices, for intervals."""

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """Prepare once what all parts share; the random numbers of all parts are the same."""


@runtime_checkable
class Executor(Protocol):
    """An executor.

    The scheduler calls ``start`` once, ``submit`` for jobs whose inputs are there (one, and further ones while fewer
    than ``slots`` are at work), ``wait`` for what has ended, and ``close`` at the end, whatever happened. What is
    costly to start is best started by the first ``submit``: where everything is cached there is none.

    A worker process runs a job with ``mtbench worker UNIT.json``, or :func:`mtbench.engine.worker.execute_file`.
    """

    slots: int
    """Units at work at the same time; see also :class:`GpuSlots`."""
    limits: bool
    """Whether it keeps the time and memory limits of jobs."""

    def problems(self, device: str) -> list[str]:
        """What stands in the way of running anything here, a sentence each; asked before any work starts.

        ``device`` is what the user asked for; empty for the best there is.
        """

    def start(self, session: Session) -> None:
        """Get ready."""

    def submit(self, job: Job) -> None:
        """Take a job; return at once or after running it."""

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of what has ended, as soon as there are any; none if nothing ends for ``seconds``."""

    def close(self) -> None:
        """Stop whatever still runs and let go of everything."""


@runtime_checkable
class Placement(Protocol):
    """An executor may say where its units run."""

    here: bool
    """Whether all of them run on this machine: then a GPU that was asked for must be on it."""


@runtime_checkable
class GpuSlots(Protocol):
    """An executor may have slots for units that use a GPU beside those for units that need none.

    So that a score, which is computed on the CPU, never keeps a GPU waiting. Which units use one the table of stages
    says (``mtbench.stages.STAGES``, ``uses_device``).
    """

    gpu_slots: int
    """Units on GPUs at the same time; ``slots`` are then for the others. 0 where no unit gets a GPU: all share
    ``slots``."""


@runtime_checkable
class Exporter(Protocol):
    """A table format."""

    def export(self, table: ResultsTable) -> str:
        """The table as text."""


def methods(contract: type) -> list[str]:
    """The methods of a protocol, in the order in which they are written."""
    members = (item for base in reversed(contract.__mro__) for item in vars(base).items())
    return [name for name, value in members if callable(value) and not name.startswith("_")]

"""The declarations of plugins. They are light: a spec names its heavy class by a string and imports nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from mtbench.data import DOMAINS, Task
from mtbench.errors import PluginError
from mtbench.integers import MOST_DECIMALS
from mtbench.registry import contracts
from mtbench.registry.basespec import Params, Spec, is_factory
from mtbench.registry.challenges import ChallengeSpec
from mtbench.registry.needs import Need
from mtbench.typed import Rule, check_fields

_DECIMALS = Rule(
    f"None, or a whole number from 0 to {MOST_DECIMALS}", lambda value: value is None or 0 <= value <= MOST_DECIMALS
)
_FACTORY = Rule("'package.module:Class' or ':Class'", lambda text: not text or is_factory(text), of_type=False)
_REASON = Annotated[str | None, Rule("a value of type str")]


@dataclass(frozen=True)
class TranslatorSpec(Spec[contracts.Translator | contracts.WholeSetTranslator]):
    """Turns source-domain slices into target-domain slices.

    The class is a :class:`~mtbench.registry.contracts.Translator` or, if it needs all slices at once, a
    :class:`~mtbench.registry.contracts.WholeSetTranslator`; if it ``trains``, it is also
    :class:`~mtbench.registry.contracts.Trainable`.

    Args:
        trains: whether it needs a fit; or a function of the parameters (with a checkpoint: no fit).
        keeps_checkpoints: whether its fit can keep checkpoints along the way: it gives ``save`` to
            ``mtbench.training.train``, or uses ``context.kept`` itself.
        stochastic: whether ``translate`` draws noise (from ``context.noise``); or a function of the parameters.
        deterministic: whether its fit draws no random numbers either. A translator that trains or is stochastic is run
            once for each seed of the suite, unless it is declared deterministic.
        conditional: whether it needs the masks of the source slices; or a function of the parameters. Its rows have a
            dagger and are not ranked.
        paired: whether its fit needs pairs (``TrainingData.pairs``). It then receives no other target slices, and is
            skipped in tasks without paired training data.
        several_channels: whether it translates source slices of several channels (T1, T2 and FLAIR) into one target
            channel. Otherwise it is skipped in tasks with several source channels.
        trains_on_masks: whether ``fit`` reads masks; always true for a conditional translator. Otherwise ``fit``
            receives none, and a corrected mask requires no training.
        supports: a function of the task that returns why this translator cannot take part, or ``None``.
        notes: a function of the parameters that returns sentences for the row (a checkpoint's licence).
    """

    kind: ClassVar[str] = "translator"
    contract: ClassVar[type] = contracts.Translator

    trains: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    keeps_checkpoints: bool = field(default=False, kw_only=True)
    stochastic: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    deterministic: bool = field(default=False, kw_only=True)
    conditional: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    paired: bool = field(default=False, kw_only=True)
    several_channels: bool = field(default=False, kw_only=True)
    trains_on_masks: bool = field(default=False, kw_only=True)
    supports: Callable[[Task], str | None] | None = field(default=None, kw_only=True)
    notes: Callable[[Params], str] | None = field(default=None, kw_only=True)

    def requires(self, plugin: object, params: Params) -> tuple[type, ...]:
        """``translate`` or ``translate_all``, preceded by the methods of a fit if it trains."""
        whole = isinstance(plugin, contracts.WholeSetTranslator)
        translates = contracts.WholeSetTranslator if whole else self.contract
        return (contracts.Trainable, translates) if self.whether("trains", params) else (translates,)

    def whether(self, field_name: Literal["trains", "stochastic", "conditional"], params: Params) -> bool:
        """Whether it trains, is stochastic or conditional with these parameters."""
        return bool(self.answer(field_name, params, Any))

    def note(self, params: Params) -> str:
        """The notes for these parameters; empty if there are none.

        Raises:
            PluginError: ``notes`` returns no texts.
        """
        return str(self.answer("notes", params, str)) if self.notes else ""

    def refusal(self, task: Task) -> str | None:
        """Why it cannot take part in this task; ``None`` if it can.

        Raises:
            PluginError: ``supports`` returns neither a text nor ``None``.
        """
        reason: str | None = self.answer("supports", task, _REASON)
        return reason


@dataclass(frozen=True)
class DatasetSpec(Spec[contracts.Dataset]):
    """One translation task: a source and a target domain.

    The class is a :class:`~mtbench.registry.contracts.Dataset`; it may be a
    :class:`~mtbench.registry.contracts.FileListing` and a :class:`~mtbench.registry.contracts.VolumeCutting` too.

    Args:
        source, target: printed names of the domains.
        channels: printed names of the channels of a source slice, in order; empty for one channel.
        labels: mask value to name.
        regions: the regions that Dice is reported for, if they are not the single labels.
        masks: the domains that come with masks.
        paired: whether the source test slices have a ground truth: samples of the domain "paired", or target samples
            that name their partner.
        paired_training: whether the training and validation slices have one, too. Source slices without one, and
            pairs whose geometry differs, are skipped and listed.
        describe: a function of the parameters that returns the ``Task`` fields that depend on them.
        needs_root: whether the user must name the folder of the files.
        depth: the data type of stored images.
        access: "open", "on request", "private" or "generated".
        obtain: where and how to get the data.
        size: download size, in words.
        published: slice counts of the publication by domain and split, for comparison in ``mtbench data check``.
        unverified: parts that were written from descriptions and not tested on real files, one sentence each.
    """

    kind: ClassVar[str] = "dataset"
    contract: ClassVar[type] = contracts.Dataset

    source: str = field(default="source", kw_only=True)
    target: str = field(default="target", kw_only=True)
    channels: tuple[str, ...] = field(default=(), kw_only=True)
    labels: Mapping[int, str] = field(default_factory=dict, kw_only=True)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    masks: frozenset[str] = field(default=frozenset(), kw_only=True)
    paired: bool = field(default=False, kw_only=True)
    paired_training: bool = field(default=False, kw_only=True)
    describe: Callable[[Params], Mapping[str, Any]] | None = field(default=None, kw_only=True)
    needs_root: bool = field(default=False, kw_only=True)
    depth: Literal["uint8", "uint16", "float32"] = field(default="uint8", kw_only=True)
    access: Literal["open", "on request", "private", "generated"] = field(default="open", kw_only=True)
    obtain: str = field(default="", kw_only=True)
    size: str = field(default="", kw_only=True)
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict, kw_only=True)
    unverified: tuple[str, ...] = field(default=(), kw_only=True)

    def task(self, params: Params, dataset: str) -> Task:
        """The task for these parameters, under the suite's name ``dataset``.

        Raises:
            PluginError: labels, regions and masks are inconsistent.
        """
        names_of_task = ("source", "target", "labels", "regions", "masks", "paired", "paired_training", "channels")
        fields = {name: getattr(self, name) for name in names_of_task}
        if self.describe is not None:
            fields.update(self.describe(params))
        task = Task(dataset=dataset, **fields)
        where = f"DatasetSpec '{self.name}'"
        check_fields(task, where)
        if task.paired_training and not task.paired:
            raise PluginError("paired_training without paired", where=where, expected="paired=True beside it")
        if len(set(task.channels)) < len(task.channels) or not all(task.channels):
            expected = "a different name for each source channel"
            raise PluginError(f"channels are {task.channels}", where=where, expected=expected)
        names = list(task.labels.values())
        for value, name in task.labels.items():
            if not 1 <= value <= 255:
                raise PluginError(f"labels has the value {value}", where=where, expected="1 to 255; 0 is background")
            if names.count(name) > 1:
                raise PluginError(f"two labels are called '{name}'", where=where, expected="a different name for each")
        for name, values in task.regions.items():
            if not values or set(values) - set(task.labels):
                labels = ", ".join(map(str, task.labels)) or "none"
                raise PluginError(
                    f"region '{name}' is made of {values}", where=where, expected=f"labels among {labels}"
                )
        if strange := task.masks - set(DOMAINS):
            expected = "some of " + ", ".join(f"'{domain}'" for domain in DOMAINS)
            raise PluginError(f"masks contains '{min(strange)}'", where=where, expected=expected)
        return task


@dataclass(frozen=True)
class SegmenterSpec(Spec[contracts.Segmenter]):
    """Finds the task's labels in an image.

    The class is a :class:`~mtbench.registry.contracts.Segmenter`; with ``arrays`` it is also an
    :class:`~mtbench.registry.contracts.Extractor`.

    Args:
        arrays: the names of the arrays of its own features, for extractors that are ``of_segmenter``.
    """

    kind: ClassVar[str] = "segmenter"
    contract: ClassVar[type] = contracts.Segmenter

    arrays: tuple[str, ...] = field(default=(), kw_only=True)

    def requires(self, plugin: object, params: Params) -> tuple[type, ...]:
        """``extract`` too, if it names arrays."""
        return (self.contract, contracts.Extractor) if self.arrays else (self.contract,)


@dataclass(frozen=True)
class ExtractorSpec(Spec[contracts.Extractor]):
    """A feature network.

    The class is an :class:`~mtbench.registry.contracts.Extractor`; it may keep a
    :class:`~mtbench.registry.contracts.WeightsRecord`. If it ``trains``, it is also
    :class:`~mtbench.registry.contracts.Trainable`. An extractor that is ``of_segmenter`` has neither a class nor
    parameters.

    Args:
        arrays: the names of its arrays.
        trains: whether it is trained on the target's training slices, without masks, before it extracts.
        of_segmenter: whether the suite's segmenters extract, as fitted on the target: a metric that reads it has a
            column for each segmenter whose spec names the same arrays.
        caveat: why its scores are not comparable with others; their rows are shown separately and never ranked.
    """

    kind: ClassVar[str] = "extractor"
    contract: ClassVar[type] = contracts.Extractor

    factory: Annotated[str, _FACTORY] = ""
    arrays: tuple[str, ...] = field(default=("features",), kw_only=True)
    trains: bool = field(default=False, kw_only=True)
    of_segmenter: bool = field(default=False, kw_only=True)
    caveat: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"ExtractorSpec '{self.name}'"
        if self.of_segmenter and (self.factory or self.params or self.trains):
            what = "of_segmenter together with a factory, parameters or trains"
            raise PluginError(what, where=where, expected="none of these, because the segmenter extracts")
        if not self.of_segmenter and not self.factory:
            raise PluginError("it has no factory", where=where, expected="a class")

    def requires(self, plugin: object, params: Params) -> tuple[type, ...]:
        """``extract``, preceded by the methods of a fit if it trains."""
        return (contracts.Trainable, self.contract) if self.trains else (self.contract,)


Damage = Literal["noise", "blur", "shift", "contrast", "masks"]
_NEEDS = Annotated[
    tuple[Need, ...], Rule('its inputs, such as needs = ("candidate",)', bool, "it reads nothing", of_type=False)
]


@dataclass(frozen=True)
class MetricSpec(Spec[contracts.Metric]):
    """A score of a set of images.

    The class is a :class:`~mtbench.registry.contracts.Metric`; it may offer
    :class:`~mtbench.registry.contracts.Resampling`.

    Args:
        title: the table's header ("FID").
        needs: the inputs of ``compute``: roles by name and ``Features``; fixed or a function of the parameters.
        higher_is_better: the direction.
        family: "segmentation", "perceptual" or "paired".
        measure_unit: the unit of the value; empty for a plain number.
        variant: a function of the parameters that returns the text in brackets after the printed name; empty for the
            published definition. Scores of different variants never share a column.
        balanced: whether candidates and references are drawn to the same number before ``compute``
            (N = min of both, by seed); or a function of the parameters.
        interval: how mtbench computes an interval: from per-case values ("cases"), by a delete-one-patient jackknife
            ("jackknife"), by subsampling patients without replacement ("subsample"), or not at all.
        bounds: the smallest and largest possible value of a score and of a case, -inf or inf if unbounded. Intervals
            stay within them; for means of cases, finite bounds give limits without assumptions about the distribution.
        decimals: digits after the point in tables; ``None`` for three significant digits.
        several_channels: whether it reads source slices of several channels, if it needs "source". Otherwise it is
            skipped in tasks with several source channels.
        caveat: why the value is not a quality of a translator; its columns stand apart and are never ranked.
        beside: the translator without whose row its columns cannot be read, because it has the best possible value
            ("identity" for a similarity to the source). A table without that row does not rank them and says why.
        symmetric: whether candidates and references may be exchanged; ``mtbench check`` tests it.
        answers_to: the kinds of damage to images ("noise", "blur", "shift", "contrast") or to predicted masks ("masks")
            that make the score monotonically worse; ``mtbench check`` tests each.
    """

    kind: ClassVar[str] = "metric"
    contract: ClassVar[type] = contracts.Metric

    title: str = field(default="", kw_only=True)
    needs: tuple[Need, ...] | Callable[[Params], tuple[Need, ...]] = field(default=(), kw_only=True)
    higher_is_better: bool = field(default=False, kw_only=True)
    family: Literal["segmentation", "perceptual", "paired"] = field(default="perceptual", kw_only=True)
    measure_unit: str = field(default="", kw_only=True)
    variant: Callable[[Params], str] | None = field(default=None, kw_only=True)
    balanced: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    interval: Literal["cases", "jackknife", "subsample", "none"] = field(default="none", kw_only=True)
    bounds: tuple[float, float] | None = field(default=None, kw_only=True)
    decimals: Annotated[int | None, _DECIMALS] = field(default=None, kw_only=True)
    several_channels: bool = field(default=False, kw_only=True)
    caveat: str = field(default="", kw_only=True)
    beside: str = field(default="", kw_only=True)
    symmetric: bool = field(default=False, kw_only=True)
    answers_to: tuple[Damage, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise PluginError(
                f"bounds are {self.bounds}",
                where=f"MetricSpec '{self.name}'",
                expected="the smaller one first: (0.0, 1.0)",
            )

    def needs_for(self, params: Params) -> tuple[Need, ...]:
        """The inputs of ``compute`` for these parameters.

        Raises:
            PluginError: they are empty or unknown.
        """
        needs: tuple[Need, ...] = self.answer("needs", params, _NEEDS)
        return needs

    def draws(self, params: Params) -> bool:
        """Whether both sides are drawn to the same number with these parameters.

        Raises:
            PluginError: ``balanced`` returns no bool.
        """
        return bool(self.answer("balanced", params, bool))

    def printed_variant(self, params: Params) -> str:
        """The text in brackets after the name; empty for the published definition."""
        return str(self.answer("variant", params, str)) if self.variant else ""


@dataclass(frozen=True)
class ExecutorSpec(Spec[contracts.Executor]):
    """Runs units. The class is an :class:`~mtbench.registry.contracts.Executor`.

    Args:
        default: whether it is used if the user names none. Of several, the first registered one is used; built-in
            plugins are registered first.
    """

    kind: ClassVar[str] = "executor"
    contract: ClassVar[type] = contracts.Executor

    default: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class ExporterSpec(Spec[contracts.Exporter]):
    """Writes a results table as text. The class is an :class:`~mtbench.registry.contracts.Exporter`.

    Args:
        ending: the file extension, with its dot.
        default: whether it is used if the user names none, as for an executor.
    """

    kind: ClassVar[str] = "exporter"
    contract: ClassVar[type] = contracts.Exporter

    ending: str = field(default=".txt", kw_only=True)
    default: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class SuiteSpec:
    """A suite file that a plugin ships.

    Args:
        name: its name for ``mtbench run``.
        resource: ``"package:path/inside/it.toml"``.
        description: one line for listings.
    """

    kind: ClassVar[str] = "suite"

    name: str
    resource: str
    description: str = ""

    def __post_init__(self) -> None:
        check_fields(self, f"SuiteSpec {self.name!r}")


KINDS: Mapping[str, type[Spec[Any]] | type[SuiteSpec]] = {
    spec.kind: spec
    for spec in (
        TranslatorSpec,
        DatasetSpec,
        SegmenterSpec,
        ExtractorSpec,
        MetricSpec,
        ExecutorSpec,
        ExporterSpec,
        ChallengeSpec,
        SuiteSpec,
    )
}
"""The spec of every kind, in the order of listings."""

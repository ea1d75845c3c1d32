"""What a plugin declares about itself. Light: a spec names its heavy class by a string and imports nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from mtbench.data import DOMAINS, Task
from mtbench.errors import ParamError, PluginError
from mtbench.registry.params import Param, convert, declare
from mtbench.registry.typecheck import check_fields, fitted
from mtbench.registry.userconfig import UserConfig

Params = Mapping[str, Any]
Role = Literal["candidate", "reference", "predicted_masks", "reference_masks", "paired"]

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_FACTORY = re.compile(r"([A-Za-z_][\w.]*)?:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Spec:
    """What all kinds have in common.

    Args:
        name: how users call it; lower case letters, digits, ``-``, ``_`` and ``.``.
        factory: ``"package.module:Class"``, imported when a unit needs it and called with the parameters as
            keywords; ``":Class"`` is a class of the module that holds the hook.
        params: parameters with their defaults, plain values or ``mtbench.Param``.
        revision: change it when the same parameters would give other results; it is part of every unit's key.
        description: one line for listings.
        citation: how to cite what it implements.
        licence: of the method's original code or weights, where a user must know it.
        shorthand: the parameter that a value without a name sets (``swd:karras``).
        configure: given the complete parameters and the user's ``mtbench.toml``, the parameters in effect; asked
            when a request is planned, so that what it takes from there is part of the unit's key.
    """

    kind: ClassVar[str] = ""
    methods: ClassVar[tuple[str, ...]] = ()

    name: str
    factory: str
    params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    revision: str = field(default="1", kw_only=True)
    description: str = field(default="", kw_only=True)
    citation: str = field(default="", kw_only=True)
    licence: str = field(default="", kw_only=True)
    shorthand: str | None = field(default=None, kw_only=True)
    configure: Callable[[Params, UserConfig], Params] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        where = f"{type(self).__name__} {self.name!r}"
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise PluginError(
                "this is not a usable name",
                where=where,
                expected="lower case letters, digits, '-', '_' and '.'",
            )
        check_fields(self, where)
        if not _FACTORY.fullmatch(self.factory):
            raise PluginError(
                f"factory is {self.factory!r}", where=where, expected="'package.module:Class' or ':Class'"
            )
        try:
            declared: dict[str, Param] = declare(self.params)
        except (TypeError, KeyError, AttributeError) as error:
            raise PluginError(f"params cannot be read: {error}", where=where) from error
        for name, param in declared.items():
            if not name.isidentifier():
                raise PluginError(f"a parameter is called {name!r}", where=where, expected="a Python name")
            try:
                convert(name, param.default, param, where)
            except ParamError as error:
                raise PluginError(f"the default of {error.what}", where=where, expected=error.expected) from error
        object.__setattr__(self, "params", MappingProxyType(declared))
        if self.shorthand is not None and self.shorthand not in declared:
            raise PluginError(f"shorthand names no parameter: {self.shorthand!r}", where=where)

    def lacking(self, made: object, params: Params) -> list[str]:
        """The methods that ``made``, an object of the factory, must have with these parameters and has not."""
        return [name for name in self.methods if not callable(getattr(made, name, None))]


@dataclass(frozen=True)
class TranslatorSpec(Spec):
    """Turns source-domain slices into target-domain slices.

    The class has ``translate(batch: Batch, context: Context) -> Tensor`` (float, B x 1 x H x W, in [0, 1]). One that
    is better off with all slices at once has instead ``translate_all(images: ImageSet, context: Context)``, which
    yields a float array, H x W, in [0, 1], for each slice of ``images`` in order. One that ``trains`` also has
    ``fit(data: TrainingData, context)``, ``save(folder)`` and ``load(folder)``.

    Args:
        trains: whether it needs a fit. A callable decides by the parameters (``checkpoint=`` given: no fit).
        stochastic: whether ``translate`` draws noise (from ``context.noise``). A callable decides by the parameters.
        deterministic: its fit draws nothing either. A translator that trains or is stochastic is run once for
            each seed of the suite, unless it is declared deterministic.
        conditional: whether it needs the masks of the source slices; shown with a dagger and not ranked. A callable
            decides by the parameters.
        trains_on_masks: whether ``fit`` reads masks, as that of a conditional translator always does. Without it
            ``fit`` is given none, and a corrected mask costs no training.
        supports: given the task, a reason why this translator cannot take part, or ``None``.
        weights: names of catalogued weight files that it must have.
        optional_weights: names of those that it can do without.
        notes: given the parameters, sentences printed once and recorded on the row (a checkpoint's licence).
    """

    kind: ClassVar[str] = "translator"
    methods: ClassVar[tuple[str, ...]] = ("translate",)

    trains: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    stochastic: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    deterministic: bool = field(default=False, kw_only=True)
    conditional: bool | Callable[[Params], bool] = field(default=False, kw_only=True)
    trains_on_masks: bool = field(default=False, kw_only=True)
    supports: Callable[[Task], str | None] | None = field(default=None, kw_only=True)
    weights: tuple[str, ...] = field(default=(), kw_only=True)
    optional_weights: tuple[str, ...] = field(default=(), kw_only=True)
    notes: Callable[[Params], str] | None = field(default=None, kw_only=True)

    def lacking(self, made: object, params: Params) -> list[str]:
        """As for all kinds: ``translate`` or ``translate_all``, and what a fit needs where it trains."""
        trains = self.trains(params) if callable(self.trains) else self.trains
        wanted = ("fit", "save", "load") if trains else ()
        found = [name for name in wanted if not callable(getattr(made, name, None))]
        return found if hasattr(made, "translate_all") else [*found, *super().lacking(made, params)]

    def note(self, params: Params) -> str:
        """What must be known of it with these parameters; empty where nothing.

        Raises:
            PluginError: ``notes`` gives no text.
        """
        return str(fitted(self.notes(params), str, f"TranslatorSpec '{self.name}'", "notes")) if self.notes else ""

    def refusal(self, task: Task) -> str | None:
        """Why it cannot take part in this task; ``None`` where it can.

        Raises:
            PluginError: ``supports`` gives neither a text nor ``None``.
        """
        reason = self.supports(task) if self.supports else None
        return str(fitted(reason, str, f"TranslatorSpec '{self.name}'", "supports")) if reason is not None else None


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """One translation task: a source and a target domain.

    The class has ``prepare(root: Path | None, context) -> Iterable[Sample]`` and, if it reads files,
    ``files(root: Path) -> Iterable[Path]``, the raw files whose content identifies the data. Its module must
    import neither torch nor MONAI at the top: planning may call ``files``. It may have ``cut(volume: Volume) -> Cut``
    (``mtbench.formats``): how a source image or volume that is not part of the data set would be cut and scaled.

    Args:
        source, target: printed names of the domains.
        labels: mask value to name.
        regions: what Dice is reported for, where it is not each label by itself.
        masks: the domains that come with masks.
        paired: whether samples of the domain "paired" hold the truth of the source test slices.
        describe: given the parameters, the ``Task`` fields that depend on them.
        needs_root: whether the user must say where the files are.
        depth: how images are stored.
        access: "open", "on request", "private" or "generated".
        obtain: where and how to get the data.
        size: download size, in words.
        published: slice counts of the publication by domain and split, which ``mtbench data check`` compares with.
        unverified: what of it was written from descriptions and never tried on a real file, one sentence each.
    """

    kind: ClassVar[str] = "dataset"
    methods: ClassVar[tuple[str, ...]] = ("prepare",)

    source: str = field(default="source", kw_only=True)
    target: str = field(default="target", kw_only=True)
    labels: Mapping[int, str] = field(default_factory=dict, kw_only=True)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    masks: frozenset[str] = field(default=frozenset(), kw_only=True)
    paired: bool = field(default=False, kw_only=True)
    describe: Callable[[Params], Mapping[str, Any]] | None = field(default=None, kw_only=True)
    needs_root: bool = field(default=False, kw_only=True)
    depth: Literal["uint8", "uint16", "float32"] = field(default="uint8", kw_only=True)
    access: Literal["open", "on request", "private", "generated"] = field(default="open", kw_only=True)
    obtain: str = field(default="", kw_only=True)
    size: str = field(default="", kw_only=True)
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict, kw_only=True)
    unverified: tuple[str, ...] = field(default=(), kw_only=True)

    def task(self, params: Params, dataset: str) -> Task:
        """The task as the suite calls it ``dataset``, for these parameters.

        Raises:
            PluginError: labels, regions or masks do not go together.
        """
        fields: dict[str, Any] = {
            "source": self.source,
            "target": self.target,
            "labels": self.labels,
            "regions": self.regions,
            "masks": self.masks,
            "paired": self.paired,
        }
        if self.describe is not None:
            fields.update(self.describe(params))
        task = Task(dataset=dataset, **fields)
        _check_task(task, f"DatasetSpec '{self.name}'")
        return task


def _check_task(task: Task, where: str) -> None:
    check_fields(task, where)
    names = list(task.labels.values())
    known = ", ".join(map(str, task.labels)) or "none"
    for value, name in task.labels.items():
        if not 1 <= value <= 255:
            raise PluginError(f"labels has the value {value}", where=where, expected="1 to 255; 0 is background")
        if names.count(name) > 1:
            raise PluginError(f"two labels are called '{name}'", where=where, expected="a name of its own for each")
    for name, values in task.regions.items():
        if not values or set(values) - set(task.labels):
            raise PluginError(f"region '{name}' is made of {values}", where=where, expected=f"labels among {known}")
    if strange := task.masks - set(DOMAINS):
        expected = "some of " + ", ".join(f"'{domain}'" for domain in DOMAINS)
        raise PluginError(f"masks holds '{min(strange)}'", where=where, expected=expected)


@dataclass(frozen=True)
class SegmenterSpec(Spec):
    """Finds the task's labels in images of one domain.

    The class has ``fit(data: TrainingData, context)``, ``save(folder)``, ``load(folder)`` and
    ``segment(images, context)``: float32 B x 1 x H x W in [0, 1] to integer labels B x H x W.
    """

    kind: ClassVar[str] = "segmenter"
    methods: ClassVar[tuple[str, ...]] = ("fit", "save", "load", "segment")


@dataclass(frozen=True)
class ExtractorSpec(Spec):
    """A feature network.

    The class has ``extract(images, context) -> dict[str, Tensor]``: float32 B x 1 x H x W in [0, 1] to named
    arrays whose first axis is B.

    Args:
        arrays: the names it gives.
        weights: names of catalogued weight files that it must have.
        caveat: why its numbers are not comparable with anybody's; rows with a caveat stand apart and are
            never ranked.
    """

    kind: ClassVar[str] = "extractor"
    methods: ClassVar[tuple[str, ...]] = ("extract",)

    arrays: tuple[str, ...] = field(default=("features",), kw_only=True)
    weights: tuple[str, ...] = field(default=(), kw_only=True)
    caveat: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Features:
    """A metric's need of extracted features.

    Attributes:
        of: whose: the "candidate" (translated images) or the "reference" (target images).
        extractor: the extractor's name, with ``params`` for it.
        arrays: which of its arrays.
    """

    of: Literal["candidate", "reference"]
    extractor: str
    arrays: tuple[str, ...]
    params: Params = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, f"Features of the extractor {self.extractor!r}")


Need = Role | Features


def two_sided(needs: tuple[Need, ...]) -> bool:
    """Whether a metric with these needs looks at real target images beside the candidates."""
    return any((need if isinstance(need, str) else need.of) == "reference" for need in needs)


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A number about a set of images.

    The class has ``compute(inputs: MetricInputs, context) -> Score | Sequence[Score]``.

    Args:
        title: the table's header ("FID").
        needs: what ``compute`` reads: roles by name and ``Features``; fixed or a function of the parameters.
        higher_is_better: the direction.
        family: "segmentation", "perceptual" or "paired".
        unit: of the value; empty for a plain number.
        variant: given the parameters, what must stand in brackets behind the printed name; empty for the
            published definition. Numbers of different variants never share a column.
        balanced: whether candidates and references are drawn to the same number before ``compute``
            (N = min of both, by seed).
        interval: how the harness makes an interval: from per-case values ("cases"), by a delete-one-patient
            jackknife, by patients drawn without replacement ("subsample"), or not at all.
        decimals: digits after the point in tables; ``None`` for three significant ones.
    """

    kind: ClassVar[str] = "metric"
    methods: ClassVar[tuple[str, ...]] = ("compute",)

    title: str = field(default="", kw_only=True)
    needs: tuple[Need, ...] | Callable[[Params], tuple[Need, ...]] = field(default=(), kw_only=True)
    higher_is_better: bool = field(default=False, kw_only=True)
    family: Literal["segmentation", "perceptual", "paired"] = field(default="perceptual", kw_only=True)
    unit: str = field(default="", kw_only=True)
    variant: Callable[[Params], str] | None = field(default=None, kw_only=True)
    balanced: bool = field(default=False, kw_only=True)
    interval: Literal["cases", "jackknife", "subsample", "none"] = field(default="none", kw_only=True)
    decimals: int | None = field(default=None, kw_only=True)

    def needed(self, params: Params) -> tuple[Need, ...]:
        """What ``compute`` reads, for these parameters.

        Raises:
            PluginError: nothing, or what there is not.
        """
        where = f"MetricSpec '{self.name}'"
        given = self.needs(params) if callable(self.needs) else self.needs
        needs: tuple[Need, ...] = fitted(given, tuple[Need, ...], where, "needs")
        if not needs:
            raise PluginError("it reads nothing", where=where, expected='needs = ("candidate",), or what it reads')
        return needs

    def printed_variant(self, params: Params) -> str:
        """What stands in brackets behind the name; empty for the published definition."""
        return str(fitted(self.variant(params), str, f"MetricSpec '{self.name}'", "variant")) if self.variant else ""


@dataclass(frozen=True)
class ExecutorSpec(Spec):
    """Runs units. The class is a :class:`mtbench.engine.executor.Executor`."""

    kind: ClassVar[str] = "executor"
    methods: ClassVar[tuple[str, ...]] = ("problems", "start", "submit", "wait", "close")


@dataclass(frozen=True)
class ExporterSpec(Spec):
    """Writes a results table as text. The class has ``export(table: ResultsTable) -> str``.

    Args:
        ending: of the file, with its dot.
    """

    kind: ClassVar[str] = "exporter"
    methods: ClassVar[tuple[str, ...]] = ("export",)

    ending: str = field(default=".txt", kw_only=True)


@dataclass(frozen=True)
class SuiteSpec:
    """A suite file that a plugin ships.

    Args:
        name: how ``mtbench run`` calls it.
        resource: ``"package:path/inside/it.toml"``.
        description: one line for listings.
    """

    kind: ClassVar[str] = "suite"

    name: str
    resource: str
    description: str = ""

    def __post_init__(self) -> None:
        check_fields(self, f"SuiteSpec {self.name!r}")


KINDS: tuple[type[Spec] | type[SuiteSpec], ...] = (
    TranslatorSpec,
    DatasetSpec,
    SegmenterSpec,
    ExtractorSpec,
    MetricSpec,
    ExecutorSpec,
    ExporterSpec,
    SuiteSpec,
)

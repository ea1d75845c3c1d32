"""FID, KID and IS: exactness, the hard cases, and the numbers of the installed peers on the same features."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inception_peers import peer, save_png, shared_state, slices, tensor
from numpy.typing import NDArray

from mtbench import DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.errors import ParamError
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.stages import scoring
from mtbench_plugins.extractors.inception_extractors import InceptionFid
from mtbench_plugins.metrics.class_spread import split_scores
from mtbench_plugins.metrics.frechet import frechet_distance, moments, root_trace
from mtbench_plugins.metrics.kernel_distance import discrepancy, subset_discrepancies

Features = NDArray[np.float32]


def features(count: int, width: int, seed: int, shift: float = 0.0) -> Features:
    """Correlated, positive features like a network's."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((width, width)) / width**0.5
    return np.maximum(random.standard_normal((count, width)) @ mixing + 0.3 + shift, 0).astype(np.float32)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover(third_party=False)


def score(registry: Registry, metric: str, arrays: dict[str, Features], **params: Any) -> Score:
    """What the registered metric makes of these features of candidates and references."""
    metric_object = registry.get("metric", metric).create(registry.get("metric", metric).complete(params))
    array = "logits" if metric == "is" else "pool"
    inputs = MetricInputs(Task("t"), features={of: {array: values} for of, values in arrays.items()})
    result = metric_object.compute(inputs, Context())
    assert isinstance(result, Score)
    return result


# FID


def exact_frechet(first: Features, second: Features) -> float:
    """The definition by eigenvalues of S1^(1/2) S2 S1^(1/2), for covariances of full rank."""
    s1, s2 = np.cov(first.astype(float), rowvar=False), np.cov(second.astype(float), rowvar=False)
    values, vectors = np.linalg.eigh(s1)
    root = (vectors * np.sqrt(values)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root)).sum()
    difference = first.astype(float).mean(0) - second.astype(float).mean(0)
    return float(difference @ difference + np.trace(s1) + np.trace(s2) - 2 * trace)


@pytest.mark.parametrize("counts", [(200, 300), (40, 300), (300, 33), (20, 12), (33, 33), (34, 32)])
def test_fid_is_the_definition_on_either_side_of_full_rank(counts: tuple[int, int]) -> None:
    first, second = features(counts[0], 32, 0), features(counts[1], 32, 1, 0.1)
    value = frechet_distance(first, second)
    if min(counts) > 34:
        assert value == pytest.approx(exact_frechet(first, second), rel=1e-12)
    # A factor made of the features and one made of the covariance are the same to the trace.
    a, b = moments(first), moments(second)
    covariances = a.factor.T @ a.factor, b.factor.T @ b.factor
    for factor, inputs in ((covariances[0], first), (covariances[1], second)):
        assert np.allclose(factor.numpy(), np.cov(inputs.astype(float), rowvar=False), atol=1e-12)
    roots = [torch.linalg.eigh(c) for c in covariances]
    factors = [values.clamp_min(0).sqrt()[:, None] * vectors.T for values, vectors in roots]
    assert root_trace(a, b) == pytest.approx(float(torch.linalg.svdvals(factors[0] @ factors[1].T).sum()), rel=1e-7)


def test_fid_of_known_gaussians() -> None:
    # Features whose sample moments are exact: +-1 on each axis in turn.
    axes = np.concatenate([np.eye(4), -np.eye(4)]) * np.sqrt(7 / 2)
    first, second = axes * [1, 2, 3, 4], axes * [2, 2, 5, 0.5] + [1, 0, 0, 2]
    expected = 1 + 4 + (1 - 2) ** 2 + 0 + (3 - 5) ** 2 + (4 - 0.5) ** 2
    assert frechet_distance(first.astype(np.float32), second.astype(np.float32)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [2, 31, 32, 33, 34, 500])
def test_fid_of_a_set_to_itself_is_zero(count: int) -> None:
    values = features(count, 32, 0) * 10
    assert frechet_distance(values, values) < 1e-9
    assert frechet_distance(values, values[::-1]) < 1e-9


def test_fid_of_network_width_to_itself_is_zero() -> None:
    values = features(300, 2048, 0)
    assert frechet_distance(values, values) < 1e-9


def test_fid_hard_cases() -> None:
    constant, other = np.full((5, 16), 0.25, np.float32), np.full((7, 16), 0.5, np.float32)
    assert frechet_distance(constant, constant) == 0
    assert frechet_distance(constant, other) == pytest.approx(16 * 0.25**2, rel=1e-12)
    varied = features(40, 16, 0)
    spread = float(np.trace(np.cov(varied.astype(float), rowvar=False)))
    shift = varied.astype(float).mean(0) - 0.25
    assert frechet_distance(varied, constant) == pytest.approx(shift @ shift + spread, rel=1e-12)
    # Duplicates change the covariance's denominator only.
    twice = np.concatenate([varied, varied])
    assert 0 < frechet_distance(varied, twice) < 1e-3 * spread
    pair = frechet_distance(varied[:2], varied[2:4])
    assert np.isfinite(pair)
    assert pair > 0


@pytest.mark.parametrize("kernel", [frechet_distance, discrepancy])
def test_unusable_features_are_refused(kernel: Any) -> None:
    good = features(5, 8, 0)
    for bad in (np.nan, np.inf):
        broken = good.copy()
        broken[2, 3] = bad
        with pytest.raises(DataError, match="NaN or infinite"):
            kernel(good, broken)
    with pytest.raises(DataError, match="at least two images"):
        kernel(good, good[:1])
    with pytest.raises(DataError, match="cannot be compared"):
        kernel(good, features(5, 9, 0))


def test_fid_takes_read_only_memory_maps(tmp_path: Path) -> None:
    values = features(20, 16, 0)
    np.save(tmp_path / "f.npy", values)
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frechet_distance(mapped, mapped[:10]) == frechet_distance(values, values[:10])


def test_fid_is_the_peers_on_the_same_features() -> None:
    first, second = features(400, 48, 0), features(300, 48, 1, 0.05)
    value = frechet_distance(first, second)
    with peer("pytorch_fid"):
        from pytorch_fid.fid_score import calculate_frechet_distance

        statistics = [(f.mean(0), np.cov(f, rowvar=False)) for f in (first, second)]
        theirs = calculate_frechet_distance(*statistics[0], *statistics[1])
    assert value == pytest.approx(theirs, rel=1e-5)
    with peer("torch_fidelity"):
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        both = [fid_features_to_statistics(torch.from_numpy(f)) for f in (first, second)]
        theirs = fid_statistics_to_metric(*both, verbose=False)["frechet_inception_distance"]
    assert value == pytest.approx(theirs, rel=1e-5)


def test_fid_is_nearer_the_truth_than_the_peer_at_small_n() -> None:
    # Fewer images than features: the peer's eigenvalues of a singular product lose digits, ours do not.
    values = features(60, 256, 0)
    assert frechet_distance(values, values) < 1e-9
    with peer("torch_fidelity"):
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        statistics = fid_features_to_statistics(torch.from_numpy(values))
        theirs = fid_statistics_to_metric(statistics, statistics, verbose=False)["frechet_inception_distance"]
    assert abs(theirs) > 1e-9


def test_fid_is_marked_below_2048_images(registry: Registry) -> None:
    few = score(registry, "fid", {"candidate": features(2047, 4, 0), "reference": features(3000, 4, 1)})
    assert (few.mark, "biased" in few.note) == ("*", True)
    enough = score(registry, "fid", {"candidate": features(2048, 4, 0), "reference": features(2048, 4, 1)})
    assert (enough.mark, enough.note) == ("", "")


# KID


def naive_kid(first: Features, second: Features) -> float:
    """The estimator by its sums, pair by pair."""
    x, y = first.astype(float), second.astype(float)

    def kernel(a: Any, b: Any) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    within = [sum(kernel(a, b) for a, b in itertools.permutations(s, 2)) / (len(s) * (len(s) - 1)) for s in (x, y)]
    return sum(within) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kid_is_the_definition() -> None:
    first, second = features(12, 8, 0), features(9, 8, 1, 0.2)
    assert discrepancy(first, second).value == pytest.approx(naive_kid(first, second), rel=1e-12)
    assert discrepancy(first[:2], second[:2]).value == pytest.approx(naive_kid(first[:2], second[:2]), rel=1e-12)
    assert discrepancy(first[:3], second).stderr is None
    assert discrepancy(first[:4], second).stderr is not None


def test_kid_does_not_depend_on_how_it_is_cut_into_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from mtbench_plugins.metrics import kernel_distance

    first, second = features(70, 8, 0), features(50, 8, 1)
    whole, subsets = discrepancy(first, second), subset_discrepancies(first, second, 5, 20, 1)
    monkeypatch.setattr(kernel_distance, "_ROWS", 16)
    banded = discrepancy(first, second)
    assert banded.value == pytest.approx(whole.value, rel=1e-12)
    assert banded.stderr == pytest.approx(whole.stderr, rel=1e-12)
    assert np.allclose(subset_discrepancies(first, second, 5, 20, 1), subsets, rtol=1e-12)


def test_kid_variance_is_the_jackknifes_less_what_it_counts_twice() -> None:
    first, second = features(12, 8, 0), features(9, 8, 1, 0.2)
    jackknife = 0.0
    for side, count in ((0, 12), (1, 9)):
        without = []
        for left_out in range(count):
            pair = [first, second]
            pair[side] = np.delete(pair[side], left_out, axis=0)
            without.append(naive_kid(*pair))
        jackknife += (count - 1) / count * float(np.square(np.array(without) - np.mean(without)).sum())
    stderr = discrepancy(first, second).stderr
    assert stderr is not None
    surplus = jackknife - stderr**2
    # <A, B> of two covariances as a mean over quadruples (two and two), |A|^2 as one over four different images.
    x, y = first.astype(float), second.astype(float)
    k = [(u @ v.T / 8 + 1) ** 3 for u, v in ((x, x), (y, y), (x, y))]

    def norm(m: Any) -> float:
        fours = np.array(list(itertools.permutations(range(len(m)), 4))).T
        i, j, q, r = fours
        return float((m[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])).mean())

    rows = np.array(list(itertools.permutations(range(12), 2))).T
    columns = np.array(list(itertools.permutations(range(9), 2))).T
    (i, p), (j, q) = rows[:, :, None], columns[:, None, :]
    between = float((k[2][i, j] * (k[2][i, j] - k[2][i, q] - k[2][p, j] + k[2][p, q])).mean())
    a, b = norm(k[0]), norm(k[1])
    expected = a * (4 / 120 - 2 / 132) + b * (4 / 63 - 2 / 72) + 4 * between / 108
    assert surplus == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("shift", "width", "within"), [(0.0, 64, 0.1), (0.0, 8, 0.1), (0.3, 64, 0.1), (0.3, 8, 0.15)])
def test_kid_standard_error_is_the_spread_of_repeated_samples(shift: float, width: int, within: float) -> None:
    # Without a shift all variance comes from pairs, with the larger ones most of it from single images.
    sizes = (40, 60)
    estimates = [
        discrepancy(features(sizes[0], width, 2 * s), features(sizes[1], width, 2 * s + 1, shift)) for s in range(600)
    ]
    spread = np.std([e.value for e in estimates], ddof=1)
    assert np.mean([e.stderr for e in estimates if e.stderr is not None]) == pytest.approx(spread, rel=within)


@pytest.mark.parametrize("shift", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_kid_standard_error_is_that_of_the_mean_over_draws_and_subsets(registry: Registry, shift: float) -> None:
    plugin = registry.get("metric", "kid")
    task = Task("t")
    candidate, reference = (
        ImageSet(
            np.zeros((n, 1, 1), np.uint8), tuple(Slice(f"{i}", "", "c", i) for i in range(n)), None, task, of, "test"
        )
        for n, of in ((30, "source"), (90, "target"))
    )

    def spread_and_error(**params: Any) -> tuple[float, float]:
        metric = plugin.create(plugin.complete(params))
        results = []
        for s in range(300):
            pools = features(30, 64, 2 * s), features(90, 64, 2 * s + 1, shift)
            arrays = {side: {"pool": pool} for side, pool in zip(("candidate", "reference"), pools, strict=True)}
            inputs = MetricInputs(task, candidate, reference, features=arrays)
            results += scoring.score(metric, plugin.spec, inputs, Context(), seed=s, draws=3, intervals=False).scores
        return float(np.std([r.value for r in results], ddof=1)), float(np.mean([r.stderr or 0 for r in results]))

    spread, error = spread_and_error()
    assert error == pytest.approx(spread, rel=0.12)
    spread, error = spread_and_error(subsets=5, subset_size=15)
    # The noise of the subsets is counted a second time in what is common to the draws: never too narrow.
    assert 0.95 < error / spread < 1.3


def test_kid_is_unbiased() -> None:
    values = np.array([discrepancy(features(20, 8, 2 * s), features(20, 8, 2 * s + 1)).value for s in range(400)])
    assert abs(values.mean()) < 3 * values.std() / 20
    assert (values < 0).any()


def test_kid_hard_cases(registry: Registry) -> None:
    constant = np.full((5, 16), 0.25, np.float32)
    same = discrepancy(constant, constant)
    assert (same.value, same.stderr) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    values = {"candidate": features(40, 8, 0), "reference": features(30, 8, 1)}
    with pytest.raises(DataError, match=r"subsets of 1000 images are larger.*40 and 30.*subset_size"):
        score(registry, "kid", values, preset="torch-fidelity")
    with pytest.raises(ParamError, match="subset_size is set without subsets"):
        score(registry, "kid", values, subset_size=10)


def test_kid_subsets_are_torch_fidelitys(registry: Registry) -> None:
    first, second = features(300, 64, 0), features(280, 64, 1, 0.05)
    mine = score(registry, "kid", {"candidate": first, "reference": second}, preset="torch-fidelity", subset_size=100)
    with peer("torch_fidelity"):
        from torch_fidelity.metric_kid import kid_features_to_metric

        def theirs(x: Any, y: Any) -> float:
            result = kid_features_to_metric(
                torch.from_numpy(x), torch.from_numpy(y), kid_subset_size=100, verbose=False
            )
            return float(result["kernel_inception_distance_mean"])

        rounded, exact = theirs(first, second), theirs(first.astype(float), second.astype(float))
    # Their float32 kernel is the whole difference: fed with float64 they give our number.
    assert mine.value == pytest.approx(exact, rel=1e-10)
    assert abs(mine.value - rounded) <= 1.01 * abs(exact - rounded) + 1e-9
    assert mine.value == pytest.approx(rounded, rel=1e-4)


def test_kid_subsets_are_clean_fids(registry: Registry) -> None:
    first, second = features(300, 64, 0), features(280, 64, 1, 0.05)
    mine = score(registry, "kid", {"candidate": second, "reference": first}, preset="clean-fid")
    assert "100 random subsets of 280" in mine.note
    with peer("cleanfid"):
        from cleanfid.fid import kernel_distance

        np.random.seed(2020)
        theirs = kernel_distance(first.astype(float), second.astype(float))
    assert mine.value == pytest.approx(theirs, rel=1e-9)


def test_kid_of_few_small_subsets_is_that_of_many() -> None:
    first, second = features(60, 16, 0), features(50, 16, 1)
    few = subset_discrepancies(first, second, 2, 10, 0)
    assert np.allclose(few, subset_discrepancies(first, second, 40, 10, 0)[:2], rtol=1e-10)


def test_kid_of_whole_subsets_is_the_full_estimate() -> None:
    first, second = features(50, 16, 0), features(50, 16, 1)
    subsets = subset_discrepancies(first, second, 3, 50, 0)
    assert np.allclose(subsets, discrepancy(first, second).value, rtol=1e-10)


# IS


def logits(count: int, classes: int = 40, seed: int = 0) -> Features:
    return (3 * np.random.default_rng(seed).standard_normal((count, classes))).astype(np.float32)


@pytest.mark.parametrize("count", [10, 57, 200])
def test_is_is_torch_fidelitys(count: int, registry: Registry) -> None:
    values = logits(count, 1008)
    mine = score(registry, "is", {"candidate": values})
    with peer("torch_fidelity"):
        from torch_fidelity.metric_isc import isc_features_to_metric

        theirs = isc_features_to_metric(torch.from_numpy(values))
    assert mine.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert split_scores(values, 10).std() == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


def test_is_of_known_answers() -> None:
    sure = np.where(np.eye(8, dtype=bool), 60.0, 0.0).astype(np.float32)
    # Eight images, each surely of a class of its own: 8; all of one class: 1; nothing known: 1.
    assert split_scores(sure, 1)[0] == pytest.approx(8, rel=1e-9)
    assert split_scores(np.repeat(sure[:1], 8, 0), 1)[0] == pytest.approx(1, rel=1e-9)
    assert split_scores(np.zeros((8, 8), np.float32), 1)[0] == pytest.approx(1, rel=1e-9)
    # Probabilities that underflow are no trouble.
    assert np.isfinite(split_scores(sure * 100, 2)).all()


def test_is_splits_and_shuffle(registry: Registry) -> None:
    values = logits(40)
    whole = score(registry, "is", {"candidate": values}, splits=1).value
    assert score(registry, "is", {"candidate": values[::-1].copy()}, splits=1).value == pytest.approx(whole, rel=1e-12)
    parts = score(registry, "is", {"candidate": values}, splits=4, shuffle=False)
    assert parts.value == pytest.approx(np.mean([split_scores(values[i : i + 10], 1)[0] for i in range(0, 40, 10)]))
    assert "cannot exceed 10" in parts.note
    assert parts.value <= 10
    with pytest.raises(DataError, match=r"7 images for 10 splits.*at most 7"):
        score(registry, "is", {"candidate": values[:7]})
    broken = values.copy()
    broken[0, 0] = np.inf
    with pytest.raises(DataError, match="NaN or infinite"):
        score(registry, "is", {"candidate": broken})


# What is asked for and what it is called


@pytest.mark.parametrize(
    ("metric", "params", "printed"),
    [
        ("fid", {}, ""),
        ("fid", {"preset": "torch-fidelity"}, ""),
        ("fid", {"resize": "tf1", "scaling": "tf"}, ""),
        ("fid", {"preset": "pytorch-fid"}, "inception-fid,pytorch-fid"),
        ("fid", {"resize": "bilinear", "scaling": "symmetric"}, "inception-fid,pytorch-fid"),
        ("fid", {"resize": "bilinear"}, "inception-fid,resize=bilinear"),
        ("fid", {"quantise": False}, "inception-fid,quantise=false"),
        ("fid", {"weights": "/somewhere/mine.pth"}, "inception-fid,weights=mine"),
        ("fid", {"extractor": "inception-random"}, "inception-random"),
        ("fid", {"extractor": "inception-random", "preset": "clean-fid"}, "inception-random,clean-fid"),
        ("fid", {"extractor": "inception-imagenet"}, "inception-imagenet"),
        ("fid", {"extractor": "inception-imagenet", "preset": "torch-fidelity"}, "inception-imagenet,torch-fidelity"),
        ("fid", {"extractor": "somebodys"}, "somebodys"),
        ("fid", {"extractor": "somebodys", "resize": "clean"}, "somebodys,resize=clean"),
        ("kid", {}, ""),
        ("kid", {"preset": "torch-fidelity"}, "inception-fid,torch-fidelity"),
        ("kid", {"subsets": 100, "subset_size": 1000}, "inception-fid,torch-fidelity"),
        ("kid", {"preset": "pytorch-fid"}, "inception-fid,pytorch-fid"),
        ("kid", {"preset": "clean-fid"}, "inception-fid,clean-fid"),
        ("kid", {"subsets": 10, "subset_size": 50}, "inception-fid,subsets=10,subset_size=50"),
        ("is", {}, ""),
        ("is", {"splits": 1}, "inception-fid,splits=1"),
        ("is", {"shuffle": False, "extractor": "inception-random"}, "inception-random,shuffle=false"),
    ],
)
def test_names_do_not_lie(registry: Registry, metric: str, params: dict[str, Any], printed: str) -> None:
    complete = registry.get("metric", metric).complete(params)
    assert registry.get("metric", metric).spec.printed_variant(complete) == printed


def test_needs_ask_extractors_for_what_was_asked(registry: Registry) -> None:
    spec = registry.get("metric", "fid").spec
    needs = spec.needs_for(registry.get("metric", "fid").complete({"extractor": "somebodys"}))
    assert [(n.of, n.extractor, n.arrays, dict(n.params)) for n in needs] == [
        ("candidate", "somebodys", ("pool",), {}),
        ("reference", "somebodys", ("pool",), {}),
    ]
    needs = spec.needs_for(registry.get("metric", "fid").complete({"preset": "pytorch-fid", "quantise": False}))
    assert dict(needs[0].params) == {"resize": "bilinear", "scaling": "symmetric", "quantise": False}
    # What metrics ask for, extractors know; the same convention in other words is the same features.
    for preset in ("torch-fidelity", None):
        params = spec.needs_for(registry.get("metric", "fid").complete({"preset": preset}))[0].params
        assert registry.get("extractor", "inception-fid").complete(params) == registry.get(
            "extractor", "inception-fid"
        ).complete({})
    need = registry.get("metric", "is").spec.needs_for(registry.get("metric", "is").complete({}))
    assert [(n.of, n.arrays) for n in need] == [("candidate", ("logits",))]


# The peers from image files to number


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two folders of real slices and one weight file for everybody."""
    root = tmp_path_factory.mktemp("peers")
    stored = {
        "candidate": slices("lumbar_mr/siemens_t2/images", 24),
        "reference": slices("lumbar_mr/philips_t1/images", 24),
    }
    weights = root / "random.pth"
    torch.save(shared_state(), weights)
    return {
        "weights": weights,
        "images": stored,
        **{name: save_png(images, root / name) for name, images in stored.items()},
    }


def extracted(folders: dict[str, Any], array: str, **changes: Any) -> dict[str, Features]:
    settings = {"resize": "tf1", "scaling": "tf", "quantise": True, "weights": str(folders["weights"]), **changes}
    extractor = InceptionFid(**settings)
    return {
        name: np.concatenate(
            [extractor.extract(tensor(images[i : i + 8]), Context())[array].numpy() for i in range(0, len(images), 8)]
        )
        for name, images in folders["images"].items()
    }


@pytest.mark.slow
def test_end_to_end_against_torch_fidelity(folders: dict[str, Any], registry: Registry) -> None:
    pool, classes = extracted(folders, "pool"), extracted(folders, "logits")
    with peer("torch_fidelity"):
        import torch_fidelity

        theirs = torch_fidelity.calculate_metrics(
            input1=str(folders["candidate"]),
            input2=str(folders["reference"]),
            feature_extractor_weights_path=str(folders["weights"]),
            fid=True,
            kid=True,
            isc=True,
            kid_subset_size=12,
            cuda=False,
            cache=False,
            verbose=False,
            save_cpu_ram=True,
            batch_size=8,
        )
    fid = score(registry, "fid", pool, preset="torch-fidelity")
    assert fid.value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    kid = score(registry, "kid", pool, preset="torch-fidelity", subset_size=12)
    assert kid.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    inception = score(registry, "is", {"candidate": classes["candidate"]}, preset="torch-fidelity")
    assert inception.value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)


@pytest.mark.slow
def test_end_to_end_against_pytorch_fid(
    folders: dict[str, Any], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = extracted(folders, "pool", resize="bilinear", scaling="symmetric")
    with peer("pytorch_fid"):
        from pytorch_fid import fid_score, inception

        state = torch.load(folders["weights"], weights_only=True)
        monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *args, **options: state)
        paths = [str(folders["candidate"]), str(folders["reference"])]
        theirs = fid_score.calculate_fid_given_paths(paths, 8, "cpu", 2048, num_workers=0)
    assert score(registry, "fid", pool, preset="pytorch-fid").value == pytest.approx(theirs, rel=1e-5)

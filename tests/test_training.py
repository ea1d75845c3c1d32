"""The training loop: exact resume, determinism, accumulation, precision, and what stops it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.context import Context
from mtbench.data import ImageSet, Slice, Task
from mtbench.errors import DataError, ParamError, PluginError, StoreError, TrainingError
from mtbench.training import (
    Budget,
    History,
    ImagePool,
    Losses,
    Moment,
    PairedSampler,
    Part,
    Recipe,
    Step,
    UnpairedSampler,
    chain,
    flip,
    join,
    linear_decay,
    numerics,
    order,
    pad_crop,
    resize_crop,
    scale_rates,
    seeded,
    signed,
    train,
    unsigned,
)

SAFE = "PYTHONSAFEPATH"
TASK = Task("toy", labels={1: "square"})


def image_set(n: int, size: int = 8, domain: Any = "source", masks: bool = False) -> ImageSet:
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, size, size), dtype=np.uint8)
    slices = tuple(Slice(f"{domain}{i}", f"p{i}", f"p{i}") for i in range(n))
    return ImageSet(images, slices, (images > 127).astype(np.uint8) if masks else None, TASK, domain, "train")


def network(norm: bool = False) -> nn.Module:
    middle = nn.BatchNorm2d(4) if norm else nn.InstanceNorm2d(4)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), middle, nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 1, 3, padding=1)
    )


class Gan(Recipe):
    """Two networks, two optimisers, dropout, noise, a pool, a rate schedule: all that has state."""

    def __init__(self, *, norm: bool = False, explode_at: int | None = None, stop_at: int | None = None) -> None:
        with seeded(7):
            g, d = network(norm), network(norm)
        super().__init__(
            networks={"G": g, "D": d},
            optimisers={
                "G": torch.optim.Adam(g.parameters(), 1e-3, betas=(0.5, 0.999)),
                "D": torch.optim.Adam(d.parameters(), 1e-3, betas=(0.5, 0.999)),
            },
            extras={"pool": ImagePool(3)},
        )
        self.explode_at, self.stop_at = explode_at, stop_at

    def schedule(self, moment: Moment) -> None:
        scale_rates(self.optimisers.values(), linear_decay(moment))

    def step(self, step: Step) -> None:
        if step.moment.step == self.stop_at:
            raise KeyboardInterrupt

        def generator(part: Part) -> Losses:
            source = signed(part["source"])
            part["fake"] = self.networks["G"](source + 0.1 * torch.randn_like(source))
            loss = (self.networks["D"](part["fake"]) - 1).square().mean()
            if step.moment.step == self.explode_at:
                loss = loss * float("nan")
            return {"G": loss, "cycle": 2.0 * (part["fake"] - source).abs().mean()}

        def critic(part: Part) -> Losses:
            fake = self.extras["pool"].query(part["fake"], step.rng)
            real = (self.networks["D"](signed(part["target"])) - 1).square().mean()
            return {"D": 0.5 * (real + self.networks["D"](fake).square().mean())}

        step.update("G", generator, clip=1.0)
        step.update("D", critic)


class Fit(Recipe):
    """Plain regression without anything random, to compare gradients."""

    def __init__(self, scores: list[float] | None = None, rate: float = 0.1, limit: int | None = None) -> None:
        with seeded(3):
            net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1))
        super().__init__({"net": net}, {"net": torch.optim.SGD(net.parameters(), rate)})
        self.scores = list(scores or [])
        self.limit = limit
        self.seen: list[int] = []

    def step(self, step: Step) -> None:
        self.seen.extend(len(part["image"]) for part in step.parts)

        def loss(part: Part) -> Losses:
            if self.limit is not None and len(part["image"]) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
            wanted = part["image_mask"][:, None].float()
            return {"mse": (self.networks["net"](part["image"]) - wanted).square().mean()}

        step.update("net", loss)

    def validate(self, moment: Moment) -> Mapping[str, float]:
        assert not self.networks["net"].training
        return {"score": self.scores.pop(0)}

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        return {"output": self.networks["net"](torch.zeros(2, 1, 6, 6))}


def weights(recipe: Recipe) -> dict[str, Tensor]:
    return {f"{n}.{k}": v.clone() for n, net in recipe.networks.items() for k, v in net.state_dict().items()}


def same(first: Recipe, second: Recipe) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def unpaired() -> UnpairedSampler:
    return UnpairedSampler(
        image_set(5), image_set(7, domain="target"), augment=chain(resize_crop(10, 8), flip(), pad_crop(1))
    )


def paired(n: int = 6) -> PairedSampler:
    return PairedSampler(image_set(n, masks=True))


def context(folder: Path | None = None, every: float = 0.0, **kwargs: Any) -> Context:
    checkpoints = None if folder is None else Checkpoints(folder, every)
    return Context(task=TASK, seed=11, threads=1, checkpoints=checkpoints, **kwargs)


@pytest.mark.parametrize("stop_at", [1, 4, 8, 11])
@pytest.mark.parametrize("norm", [False, True])
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path: Path, stop_at: int, norm: bool) -> None:
    budget = Budget(epochs=3)
    whole = Gan(norm=norm)
    unbroken = train(whole, unpaired(), context(), budget, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        train(Gan(norm=norm, stop_at=stop_at), unpaired(), context(tmp_path), budget, batch_size=2)
    torch.rand(3)  # a new process has another global state
    again = Gan(norm=norm)
    with torch.no_grad():
        next(again.networks["G"].parameters()).add_(1.0)
    resumed = train(again, unpaired(), context(tmp_path), budget, batch_size=2)
    assert unbroken.steps == 12
    assert same(whole, again)
    assert resumed == unbroken


def test_resume_from_an_older_checkpoint_repeats_the_steps_since(tmp_path: Path) -> None:
    whole, budget = Gan(), Budget(steps=9)
    train(whole, unpaired(), context(), budget, batch_size=3)

    class NowAndThen(Checkpoints):
        calls = 0

        def due(self) -> bool:
            self.calls += 1
            return self.calls == 4

    broken = Context(task=TASK, seed=11, threads=1, checkpoints=NowAndThen(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        train(Gan(stop_at=8), unpaired(), broken, budget, batch_size=3)
    state = Checkpoints(tmp_path).restore()
    assert state is not None
    assert state["trainings"]["fit"]["step"] == 4
    again = Gan()
    train(again, unpaired(), context(tmp_path), budget, batch_size=3)
    assert same(whole, again)


def test_a_fit_that_had_ended_is_restored_and_not_trained_again(tmp_path: Path) -> None:
    first, second = Gan(), Gan(stop_at=0)
    one = train(first, unpaired(), context(tmp_path), Budget(steps=3))
    two = train(second, unpaired(), context(tmp_path), Budget(steps=3))
    assert same(first, second)
    assert one == two


def test_two_trainings_share_one_checkpoint_file(tmp_path: Path) -> None:
    here = context(tmp_path)
    a, b = Fit(), Fit()
    train(a, paired(), here, Budget(steps=2), name="a")
    train(b, paired(), here, Budget(steps=3), name="b")
    state = Checkpoints(tmp_path).restore()
    assert state is not None
    assert set(state["trainings"]) == {"a", "b"}
    again = Fit()
    train(again, paired(), context(tmp_path), Budget(steps=2), name="a")
    assert same(a, again)
    assert not same(a, b)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    train(Fit(), paired(), context(tmp_path), Budget(steps=2), batch_size=2)
    with pytest.raises(StoreError, match="another batch size"):
        train(Fit(), paired(), context(tmp_path), Budget(steps=2), batch_size=3)


def test_the_same_fit_twice_and_another_seed() -> None:
    first, second, third = Gan(), Gan(), Gan()
    before = torch.get_rng_state()
    for recipe in (first, second):
        train(recipe, unpaired(), context(), Budget(steps=5), batch_size=2)
    assert torch.equal(before, torch.get_rng_state())
    train(third, unpaired(), Context(task=TASK, seed=12, threads=1), Budget(steps=5), batch_size=2)
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_accumulation_gives_the_gradients_of_the_whole_batch(parts: int) -> None:
    whole, split = Fit(), Fit()
    one = train(whole, paired(), context(), Budget(steps=6), batch_size=4)
    two = train(split, paired(), context(), Budget(steps=6), batch_size=4, accumulate=parts)
    assert max(split.seen) == -(-4 // parts)
    assert sum(split.seen) == sum(whole.seen) == 3 * (4 + 2)
    for key, value in weights(whole).items():
        torch.testing.assert_close(value, weights(split)[key], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.values("mse"), two.values("mse"), rtol=1e-5)


def test_memory_that_does_not_suffice_splits_the_batch() -> None:
    whole, short, here = Fit(), Fit(limit=1), context()
    train(whole, paired(), context(), Budget(steps=4), batch_size=4)
    train(short, paired(), here, Budget(steps=4), batch_size=4)
    for key, value in weights(whole).items():
        torch.testing.assert_close(value, weights(short)[key], rtol=1e-5, atol=1e-6)
    assert here.log == [f"fit: memory was short, so each batch is processed in {n} parts" for n in (2, 4)]


def test_memory_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(TrainingError, match="out of memory with a batch of 2 in 2 parts"):
        train(Fit(limit=0), paired(), context(), Budget(steps=4), batch_size=2)
    forbidden = Fit(limit=1)
    forbidden.batch_statistics = True
    with pytest.raises(TrainingError, match="statistics are taken"):
        train(forbidden, paired(), context(), Budget(steps=4), batch_size=2)
    assert Gan(norm=True).batch_statistics
    assert not Gan().batch_statistics


def test_an_update_reaches_only_its_own_networks() -> None:
    recipe = Gan()

    class Half(Gan):
        def step(self, step: Step) -> None:
            fake = self.networks["G"]

            def losses(part: Part) -> Losses:
                assert not any(p.requires_grad for p in self.networks["D"].parameters())
                return {"G": self.networks["D"](fake(part["source"])).square().mean()}

            step.update("G", losses)
            assert all(p.grad is None for p in self.networks["D"].parameters())

    half = Half()
    train(half, unpaired(), context(), Budget(steps=2))
    before, after = weights(recipe), weights(half)
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("D."))
    assert not all(torch.equal(before[k], after[k]) for k in before if k.startswith("G."))
    assert all(p.requires_grad for p in half.networks["D"].parameters())


def test_one_update_of_several_optimisers_and_a_shared_forward_pass() -> None:
    class Shared(Gan):
        def step(self, step: Step) -> None:
            def forward(part: Part) -> None:
                part["fake"] = self.networks["G"](part["source"])

            step.forward(forward)
            step.update("D", lambda part: {"D": self.networks["D"](part["fake"].detach()).square().mean()})
            step.update(["G", "D"], lambda part: {"G": (self.networks["D"](part["fake"]) - 1).square().mean()})
            step.note(parts=len(step.parts))

    first, second = Shared(), Gan()
    history = train(first, unpaired(), context(), Budget(steps=2), batch_size=4, accumulate=2)
    for key in ("G", "D"):
        assert not torch.equal(
            next(first.networks[key].parameters()).detach(), next(second.networks[key].parameters()).detach()
        )
    assert history.values("parts") == [2.0, 2.0]
    assert {e.name for e in history.entries} == {"G", "D", "parts"}


def test_bf16_trains_near_float32_and_resumes(tmp_path: Path) -> None:
    full, half = Fit(), Fit()
    one = train(full, paired(), context(), Budget(steps=8), batch_size=3)
    two = train(half, paired(), context(precision="bf16"), Budget(steps=8), batch_size=3)
    assert not same(full, half)
    np.testing.assert_allclose(one.values("mse"), two.values("mse"), rtol=0.02)
    assert all(v.dtype == torch.float32 for v in weights(half).values())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'fit': the loss 'G' is nan at step 4 \(epoch 1\).*learning rate"):
        train(Gan(explode_at=3), unpaired(), context(tmp_path), Budget(steps=9))
    state = Checkpoints(tmp_path).restore()
    assert state is not None
    assert state["trainings"]["fit"]["step"] == 3
    for network_state in state["trainings"]["fit"]["networks"].values():
        assert all(torch.isfinite(t).all() for t in network_state.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    class Overflow(Fit):
        def step(self, step: Step) -> None:
            super().step(step)
            if step.moment.step == 2:
                with torch.no_grad():
                    next(self.networks["net"].parameters()).fill_(float("inf"))

    with pytest.raises(TrainingError, match=r"after step 3 the tensor networks/net/0.weight is not finite"):
        train(Overflow(), paired(), context(tmp_path), Budget(steps=9))
    state = Checkpoints(tmp_path).restore()
    assert state is not None
    assert state["trainings"]["fit"]["step"] == 2


def test_a_diverging_rate_is_told_as_such() -> None:
    with pytest.raises(TrainingError, match=r"the loss 'mse' is (inf|nan) at step"):
        train(Fit(rate=1e12), paired(), context(), Budget(steps=60))


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    scores = [0.1, 0.5, 0.4, 0.5, 0.3, 0.9]
    stopped, best = Fit(scores), Fit()
    history = train(stopped, paired(), context(), Budget(epochs=6), batch_size=2, validate_every=1, patience=3)
    train(best, paired(), context(), Budget(epochs=2), batch_size=2)
    assert (history.ended, history.best_epoch, history.best_score, history.epochs) == ("patience", 2, 0.5, 5)
    assert history.values("score", "validation") == scores[:5]
    assert same(stopped, best)
    assert not any(net.training for net in stopped.networks.values())


def test_early_stopping_survives_a_kill(tmp_path: Path) -> None:
    class Broken(Fit):
        def step(self, step: Step) -> None:
            if step.moment.step == 11:
                raise KeyboardInterrupt
            super().step(step)

    scores = [0.1, 0.5, 0.4, 0.5, 0.3, 0.9]
    options: dict[str, Any] = {"batch_size": 2, "validate_every": 1, "patience": 3}
    whole, again = Fit(scores), Fit(scores[3:])
    one = train(whole, paired(), context(), Budget(epochs=6), **options)
    with pytest.raises(KeyboardInterrupt):
        train(Broken(scores), paired(), context(tmp_path), Budget(epochs=6), **options)
    two = train(again, paired(), context(tmp_path), Budget(epochs=6), **options)
    assert one == two
    assert same(whole, again)


def test_validation_every_few_epochs_and_at_the_end() -> None:
    history = train(Fit([0.1, 0.2, 0.3]), paired(), context(), Budget(steps=28), batch_size=2, validate_every=4)
    assert [e.step for e in history.entries if e.phase == "validation"] == [12, 24, 28]
    with pytest.raises(PluginError, match="patience needs validate_every"):
        train(Fit(), paired(), context(), Budget(steps=1), patience=2)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [(Budget(epochs=2), 6), (Budget(steps=5), 5), (Budget(epochs=3, steps=4), 4), (Budget(epochs=1, minutes=60), 3)],
)
def test_budgets(budget: Budget, steps: int) -> None:
    seen: list[tuple[int, int, Mapping[str, Any]]] = []
    here = context(progress=lambda *args: seen.append(args))
    history = train(Fit(), paired(5), here, budget, batch_size=2)
    assert history.steps == steps
    assert seen[-1][0] == steps
    assert set(seen[-1][2]) == {"epoch", "loss", "images/s"}
    if budget.minutes is None:
        assert seen[-1][1] == steps


def test_a_budget_in_minutes_ends() -> None:
    moments: list[float] = []

    class Timed(Fit):
        def schedule(self, moment: Moment) -> None:
            moments.append(moment.fraction)

    history = train(Timed(), paired(), context(), Budget(minutes=0.005))
    assert history.steps == len(moments) > 1
    assert moments == sorted(moments)
    assert 0 <= moments[0] < moments[-1] <= 1


@pytest.mark.parametrize("wrong", [{}, {"epochs": 0}, {"minutes": -1.0}, {"minutes": float("nan")}])
def test_a_budget_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParamError, match="budget"):
        Budget(**wrong)


def test_the_last_small_batch_can_be_left_out() -> None:
    kept, left = Fit(), Fit()
    train(kept, paired(5), context(), Budget(epochs=1), batch_size=2)
    train(left, paired(5), context(), Budget(epochs=1), batch_size=2, drop_last=True)
    assert (kept.seen, left.seen) == ([2, 2, 1], [2, 2])
    only = Fit()
    train(only, paired(1), context(), Budget(epochs=2), batch_size=8, drop_last=True)
    assert only.seen == [1, 1]


def test_the_linear_rate_is_that_of_cyclegan() -> None:
    def factors(epochs: int) -> list[float]:
        return [linear_decay(Moment(0, e, 1, e / epochs, epochs)) for e in range(epochs)]

    assert factors(4) == [1.0, 1.0, 1 - 1 / 3, 1 - 2 / 3]
    long = factors(200)
    assert long[:100] == [1.0] * 100
    assert long[100] == pytest.approx(1 - 1 / 101)
    assert long[199] == pytest.approx(1 - 100 / 101)
    assert linear_decay(Moment(30, 0, 100, 0.75)) == 0.5
    net = nn.Linear(1, 1)
    adam = torch.optim.Adam(net.parameters(), 2e-4)
    for factor in (1.0, 0.5, 0.25):
        scale_rates([adam], factor)
        assert adam.param_groups[0]["lr"] == pytest.approx(2e-4 * factor)


def test_the_image_pool_gives_old_images_half_of_the_time() -> None:
    pool, rng = ImagePool(10), np.random.default_rng(0)
    values = [float(pool.query(torch.full((1, 1, 1, 1), float(i)), rng)) for i in range(2000)]
    assert values[:10] == [float(i) for i in range(10)]
    fresh = sum(g == i for i, g in enumerate(values[10:], 10)) / 1990
    assert 0.45 < fresh < 0.55
    assert all(g <= i for i, g in enumerate(values))
    assert len(pool.images) == 10
    other = ImagePool(10)
    other.load_state_dict(pool.state_dict())
    draws = np.random.default_rng(5), np.random.default_rng(5)
    batch = torch.arange(6.0).reshape(6, 1, 1, 1)
    assert torch.equal(pool.query(batch, draws[0]), other.query(batch, draws[1]))
    assert torch.equal(ImagePool(0).query(batch, rng), batch)


def test_order_and_batches_are_pure() -> None:
    assert sorted(order(1, 0, 20)) == list(range(20))
    assert not np.array_equal(order(1, 0, 20), order(1, 1, 20))
    sampler = unpaired()
    whole = sampler.batch(5, 2, range(7))
    for position in reversed(range(7)):
        single = unpaired().batch(5, 2, [position])
        for name, tensor in single.items():
            assert torch.equal(tensor[0], whole[name][position])
    assert not torch.equal(whole["source"], sampler.batch(5, 3, range(7))["source"])


def test_an_unpaired_epoch_shows_every_image_of_the_larger_domain() -> None:
    sampler = UnpairedSampler(image_set(7), image_set(3, domain="target"))
    assert len(sampler) == 7
    seen = sampler.batch(0, 0, range(7))["source"]
    assert len({tuple(image.flatten().tolist()) for image in seen}) == 7
    a, b = image_set(3, masks=True), image_set(4, domain="target", masks=True)
    assert a.masks is not None
    assert b.masks is not None
    both = UnpairedSampler(a, b, masks=(a.masks, b.masks), augment=flip(1.0), partner=lambda rng, index: index)
    batch = both.batch(0, 0, range(4))
    assert torch.equal((batch["source"] > 0.5)[:, 0], batch["source_mask"] == 1)
    assert torch.equal((batch["target"] > 0.5)[:, 0], batch["target_mask"] == 1)


def test_images_without_masks_or_without_images_are_refused() -> None:
    with pytest.raises(DataError, match="no masks"):
        PairedSampler(image_set(3))
    with pytest.raises(DataError, match="no images to train on"):
        PairedSampler(image_set(3, masks=True).subset([]))
    with pytest.raises(DataError, match="do not fit"):
        PairedSampler(image_set(3), np.zeros((3, 4, 4), np.uint8))


def test_augmentations_move_the_mask_with_the_image() -> None:
    image = torch.zeros(1, 12, 16)
    image[0, 3:6, 2:9] = 1.0
    mask = (image[0] > 0.5).to(torch.uint8)
    for k in range(20):
        rng = np.random.default_rng(k)
        moved, label = chain(pad_crop(3), flip())(image, mask, rng)
        assert label is not None
        assert moved.shape == image.shape
        assert torch.equal(moved[0] > 0.5, label == 1)
        big, label = resize_crop((24, 32), (20, 20))(image, mask, rng)
        assert label is not None
        assert big.shape == (1, 20, 20)
        assert label.dtype == torch.uint8
        assert ((big[0] > 0.5) == (label == 1)).float().mean() > 0.97
        assert 0 <= big.min() <= big.max() <= 1
    unchanged, none = resize_crop((12, 16), (12, 16))(image, None, np.random.default_rng(0))
    assert none is None
    assert torch.equal(unchanged, image)
    with pytest.raises(ValueError, match="cannot cut"):
        resize_crop(8, 9)


def test_seeded_restores_every_generator() -> None:
    import random

    def draw() -> tuple[float, float, float]:
        return float(torch.rand(1)), random.random(), float(np.random.random())

    with seeded(5):
        first = draw()
        with seeded(6):
            other = draw()
        second = draw()
    with seeded(5):
        assert draw() == first
        assert draw() == second
    assert other not in (first, second)


def test_the_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with numerics(context()):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_signed_and_unsigned() -> None:
    x = torch.tensor([0.0, 0.25, 1.0])
    assert signed(x).tolist() == [-1.0, -0.5, 1.0]
    assert unsigned(signed(x)).tolist() == x.tolist()
    assert unsigned(torch.tensor([-3.0, 3.0])).tolist() == [0.0, 1.0]


def test_the_history_is_saved_as_parquet(tmp_path: Path) -> None:
    recipe = Fit([0.1, 0.2])
    first = train(
        recipe, paired(), context(), Budget(epochs=2), name="a", batch_size=3, validate_every=1, samples_every=1
    )
    second = train(Fit(), paired(), context(), Budget(epochs=1), name="b", batch_size=3)
    join([first, second]).save(tmp_path)
    rows = pq.read_table(tmp_path / "losses.parquet").to_pylist()
    assert [(r["fit"], r["phase"], r["step"], r["epoch"], r["name"]) for r in rows] == [
        ("a", "train", 1, 0, "mse"),
        ("a", "train", 2, 0, "mse"),
        ("a", "validation", 2, 1, "score"),
        ("a", "train", 3, 1, "mse"),
        ("a", "train", 4, 1, "mse"),
        ("a", "validation", 4, 2, "score"),
        ("b", "train", 1, 0, "mse"),
        ("b", "train", 2, 0, "mse"),
    ]
    assert rows[0]["value"] == first.values("mse")[0]
    images = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [(r["step"], r["name"]) for r in images] == [(2, "output"), (4, "output")]
    assert images[0]["png"][:4] == b"\x89PNG"
    assert History.from_state(first.state_dict()) is not first


def test_long_trainings_leave_averages() -> None:
    class Count(Recipe):
        def step(self, step: Step) -> None:
            step.note(n=float(step.moment.step))

    history = train(Count({}, {}), paired(), context(), Budget(steps=4001))
    assert history.values("n")[:2] == [0.5, 2.5]
    assert history.values("n")[-1] == 4000.0
    assert len(history.values("n")) == 2001


def test_networks_are_compiled_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SAFE, raising=False)
    compiled, safe = [], []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    step = Fit.step
    monkeypatch.setattr(Fit, "step", lambda fit, moment: (safe.append(SAFE in os.environ), step(fit, moment)))
    fit = Fit()
    train(fit, paired(), context(), Budget(steps=1))
    assert not compiled
    train(fit, paired(), context(), Budget(steps=1), compile=True)
    assert compiled == list(fit.networks.values())
    # The Pythons that torch starts while it compiles do not import from the current folder.
    assert safe == [False, True]
    assert SAFE not in os.environ


def test_tensorboard_is_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    here = context()
    here.events = tmp_path / "events"
    train(Fit(), paired(), here, Budget(steps=1))
    assert not here.log
    train(Fit(), paired(), here, Budget(steps=1), tensorboard=True)
    assert here.log == ["no TensorBoard events: the package 'tensorboard' is not installed"]
    assert not list(tmp_path.iterdir())


def test_tensorboard_that_cannot_write_costs_no_fit(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    here = context()
    here.events = tmp_path / "file" / "events"
    (tmp_path / "file").touch()
    train(Fit(), paired(), here, Budget(steps=1))
    assert here.log
    assert here.log[0].startswith("no TensorBoard events: ")


def test_tensorboard_gets_losses_and_images(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    here = context()
    here.events = tmp_path
    history = train(Fit(), paired(), here, Budget(epochs=1), samples_every=1)
    events = EventAccumulator(str(tmp_path)).Reload()
    (name,) = {e.name for e in history.entries}
    values = [e.value for e in events.Scalars(f"fit/train/{name}")]
    assert values == pytest.approx([e.value for e in history.entries])
    assert events.Tags()["images"] == [f"fit/{history.samples[0].name}"]

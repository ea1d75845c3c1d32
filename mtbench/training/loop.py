"""The loop: steps until the budget is used, checkpoints, validation, progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from mtbench.childprocess import protected_children
from mtbench.compute.context import Context
from mtbench.compute.memory import out_of_memory, release
from mtbench.compute.seeds import derive, generator
from mtbench.errors import PluginError, TrainingError
from mtbench.training import state as states
from mtbench.training.batches import batches, split
from mtbench.training.budget import Budget
from mtbench.training.history import History
from mtbench.training.journal import Journal
from mtbench.training.keeping import Keeper, Save
from mtbench.training.recipe import Moment, Recipe, Step
from mtbench.training.samplers import Sampler
from mtbench.training.scope import numerics, seed_everything, seeded

T = TypeVar("T")


def train(
    recipe: Recipe,
    sampler: Sampler,
    context: Context,
    budget: Budget,
    *,
    name: str = "fit",
    batch_size: int = 1,
    accumulate: int = 1,
    drop_last: bool = False,
    validate_every: int | None = None,
    patience: int | None = None,
    samples_every: int | None = None,
    channels_last: bool = True,
    compile: bool = False,
    tensorboard: bool | None = None,
    save: Save | None = None,
) -> History:
    """Train ``recipe`` until ``budget`` is used; its networks hold the result, in eval mode, on the device.

    Resumes from ``context.checkpoints`` if that has a state under ``name``, and saves there whenever a save is due and
    at the end. With ``validate_every`` the weights of the best validation (the earliest if equal) are kept, also in
    checkpoints, and restored at the end.

    Args:
        recipe: the model to train.
        sampler: the source of batches.
        context: device, precision, threads, seed, checkpoints, progress.
        budget: when to stop.
        name: of this training; a fit that calls ``train`` several times needs a different name for each. Part of the
            seed.
        batch_size: positions of the sampler per step; the last batch of an epoch may be smaller.
        accumulate: parts into which a batch is divided to save memory. The gradients are
            those of the whole batch (beyond rounding), unless a network uses batch statistics.
        drop_last: drop a smaller last batch, unless it is the only one.
        validate_every: epochs between calls of ``recipe.validate``; it is also called at the end.
        patience: stop after this many validations without a better score.
        samples_every: epochs between calls of ``recipe.samples``; it is also called at the end.
        channels_last: memory format of networks and batches.
        compile: compile the networks by torch.compile, which costs minutes and changes weights by rounding.
        tensorboard: write TensorBoard events, if it is installed; by default in ``context.events``.
        save: writes the model, with the networks as they are, into a folder for the translator's ``load``. With it the
            fit keeps the checkpoints of ``context.kept``. Of several trainings in one fit, give it to the main one.

    Raises:
        ParamError: the budget is too short for the checkpoints to be kept.
        TrainingError: a loss or weight is not finite (the checkpoint stays as it was before), or memory runs out and
            the batch cannot be split further.
        PluginError: ``patience`` without ``validate_every``, or ``recipe.validate`` returned no score.
        StoreError: the checkpoint belongs to a training with another seed, batch size or number of images.
    """
    if patience is not None and validate_every is None:
        raise PluginError("patience needs validate_every", where=f"training '{name}'")
    guard = protected_children() if compile else contextlib.nullcontext()
    with guard, numerics(context), seeded(derive(context.seed, name)):
        loop = _Loop(recipe, sampler, context, budget, name, batch_size, accumulate, drop_last, save)
        loop.prepare(channels_last, compile)
        with Journal(name, context, loop.steps_at_most, tensorboard) as loop.journal:
            return loop.run(validate_every, patience, samples_every)


class _Loop:
    def __init__(
        self,
        recipe: Recipe,
        sampler: Sampler,
        context: Context,
        budget: Budget,
        name: str,
        batch_size: int,
        accumulate: int,
        drop_last: bool,
        save: Save | None,
    ) -> None:
        self.recipe, self.sampler, self.context, self.budget, self.name = (
            recipe,
            sampler,
            context,
            budget,
            name,
        )
        self.batch_size, self.accumulate = min(batch_size, len(sampler)), accumulate
        self.seed = derive(context.seed, name)
        full_batches, remainder = divmod(len(sampler), self.batch_size)
        self.steps_per_epoch = full_batches if drop_last or not remainder else full_batches + 1
        self.steps_at_most = budget.steps_at_most(self.steps_per_epoch)
        self.keeper = Keeper(context, save, self.steps_at_most)
        plan = {"seed": context.seed, "batch size": batch_size, "number of images": len(sampler)}
        self.shelf = states.Shelf(context.checkpoints, name, plan)
        self.journal: Journal
        self.step = 0
        self.waited = 0
        self.best: Mapping[str, Any] | None = None
        self.ended = False
        self._seconds_before, self._start = 0.0, time.monotonic()
        self._memory_format = torch.contiguous_format

    def prepare(self, channels_last: bool, compile: bool) -> None:
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for network in [*self.recipe.networks.values(), *self.recipe.frozen.values()]:
            network.to(self.context.device).to(memory_format=self._memory_format)
        for network in self.recipe.frozen.values():
            network.eval().requires_grad_(False)
        if compile:
            for network in self.recipe.networks.values():
                network.compile()

    def run(self, validate_every: int | None, patience: int | None, samples_every: int | None) -> History:
        if not self._restore():
            fallback: Mapping[str, Any] | None = states.pack(self.recipe)
            make = batches(self.sampler, self.seed, self.batch_size, self.steps_per_epoch, self.step, self.context)
            with make as upcoming:
                while not self.ended:
                    self._train_mode(True)
                    self._one_step(next(upcoming), fallback)
                    fallback = None
                    share = self._budget_share()
                    self.ended = share >= 1.0 or self.step == self.context.steps_at_most
                    for part in self.keeper.due(share):
                        self._evaluate(partial(self.keeper.save, part, self.step))
                    if self.ended or self.step % self.steps_per_epoch == 0:
                        self._look(validate_every, patience, samples_every)
                    if not self.ended and self.shelf.due():
                        self._save()
            self._finish()
        self._train_mode(False)
        return self.journal.history

    def _one_step(self, batch: dict[str, Tensor], fallback: Mapping[str, Any] | None) -> None:
        """One step; while there is a ``fallback`` (before the first success), batches that are too large are split."""
        moment = self._moment()
        while True:
            parts, shares = split(batch, self.accumulate, self.context.device, self._memory_format)
            seed_everything(derive(self.seed, "step", self.step))
            rng = generator(self.seed, "step", self.step)
            step = Step(self.recipe, moment, parts, shares, rng, self.context.autocast)
            self.recipe.schedule(moment)
            try:
                self.recipe.step(step)
                break
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._split_further(len(next(iter(batch.values()))), fallback, error)
            del parts, step
            release(self.context.device)
        self.step += 1
        self.journal.losses(self.step, moment.epoch, step.values)
        self._report(moment)

    def _split_further(self, size: int, fallback: Mapping[str, Any] | None, error: Exception) -> None:
        where = f"training '{self.name}', step {self.step + 1}"
        if self.recipe.batch_statistics:
            raise TrainingError(
                f"out of memory with a batch of {size}, which cannot be split because its statistics are taken over "
                "the whole batch",
                where=where,
                remedy="Set a smaller batch_size or use smaller networks; both change the result",
            ) from error
        if fallback is None or self.accumulate >= size:
            raise TrainingError(
                f"out of memory with a batch of {size} in {min(size, self.accumulate)} parts",
                where=where,
                remedy="Free memory and rerun (the fit resumes from its checkpoint), or use smaller networks",
            ) from error
        states.unpack(self.recipe, fallback)
        self.accumulate = min(size, 2 * self.accumulate)
        self.context.log.append(f"{self.name}: memory was short, so each batch is processed in {self.accumulate} parts")

    def _look(self, validate_every: int | None, patience: int | None, samples_every: int | None) -> None:
        """Validation and sample images, at the end of an epoch or of the training."""
        epoch, remainder = divmod(self.step, self.steps_per_epoch)
        moment, history = self._moment(), self.journal.history
        if validate_every and (self.ended or (not remainder and epoch % validate_every == 0)):
            figures = self._evaluate(lambda: self.recipe.validate(moment))
            if "score" not in figures:
                raise PluginError("validate() returned no 'score'", where=f"training '{self.name}'")
            self.journal.validation(self.step, epoch, figures)
            self.waited += 1
            if history.best_score is None or figures["score"] > history.best_score:
                history.best_score, history.best_epoch = float(figures["score"]), epoch
                self.best, self.waited = states.networks(self.recipe), 0
            if patience is not None and self.waited >= patience and not self.ended:
                self.ended, history.ended = True, "patience"
        if samples_every and (self.ended or (not remainder and epoch % samples_every == 0)):
            self.journal.samples(self.step, epoch, self._evaluate(lambda: self.recipe.samples(moment)))

    def _evaluate(self, call: Callable[[], T]) -> T:
        self._train_mode(False)
        # The next step reseeds after any draws of the validation, so validating more often changes no weight.
        with torch.no_grad(), self.context.autocast():
            return call()

    def _finish(self) -> None:
        self.journal.check()
        self.journal.close_window()
        history = self.journal.history
        history.steps, history.epochs = self.step, self.step // self.steps_per_epoch
        if self.best is not None:
            states.load_networks(self.recipe, self.best)
        weights = states.networks(self.recipe)
        self._refuse_not_finite(weights)
        self.keeper.end(self.step)
        self.shelf.save({"ended": True, "networks": weights, "journal": self.journal.state_dict()})

    def _save(self) -> None:
        self.journal.check()
        packed = states.pack(self.recipe)
        self._refuse_not_finite(packed)
        self.shelf.save(
            {
                **packed,
                "ended": False,
                "step": self.step,
                "seconds": self._seconds(),
                "waited": self.waited,
                "best": self.best,
                "journal": self.journal.state_dict(),
            }
        )

    def _restore(self) -> bool:
        """Resume from the checkpoint; returns whether the training had already ended."""
        state = self.shelf.restore()
        if state is None:
            return False
        self.journal.load_state_dict(state["journal"])
        if state["ended"]:
            states.load_networks(self.recipe, state["networks"])
            return True
        states.unpack(self.recipe, state)
        self.step, self.waited, self.best = state["step"], state["waited"], state["best"]
        self._seconds_before = state["seconds"]
        self.keeper.resume(self._budget_share())
        return False

    def _refuse_not_finite(self, packed: Mapping[str, Any]) -> None:
        path = states.not_finite(packed)
        if path is not None:
            raise TrainingError(
                f"after step {self.step} the tensor {path} is not finite",
                where=f"training '{self.name}'",
                remedy="Lower the learning rate or clip gradients; the last good checkpoint was kept",
            )

    def _moment(self) -> Moment:
        only_epochs = self.budget.steps is None and self.budget.minutes is None
        return Moment(
            step=self.step,
            epoch=self.step // self.steps_per_epoch,
            steps_per_epoch=self.steps_per_epoch,
            fraction=min(1.0, self._budget_share()),
            epochs=self.budget.epochs if only_epochs else None,
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._start

    def _budget_share(self) -> float:
        return self.budget.used(self.step, self.steps_per_epoch, self._seconds())

    def _report(self, moment: Moment) -> None:
        total = self.steps_at_most
        if self.budget.minutes is not None:
            # The used share of the budget, in steps at the speed so far.
            total = max(self.step, round(self.step / max(self._budget_share(), 1e-9)))
        assert total is not None
        figures: dict[str, Any] = {"epoch": moment.epoch + 1, **self.journal.latest()}
        figures["images/s"] = self.journal.speed(self.batch_size)
        self.context.progress(self.step, total, figures)

    def _train_mode(self, training: bool) -> None:
        for network in self.recipe.networks.values():
            if network.training != training:
                network.train(training)

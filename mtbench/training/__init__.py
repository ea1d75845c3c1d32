"""The training loop for every fit, built in or not.

To train a model, write a :class:`Recipe`: its networks, its optimisers, and one ``step`` that says which losses update
which optimiser. :func:`train` does the rest: order and augmentation, device and precision, gradient accumulation, the
budget, checkpoints and exact resume, validation with early stopping, progress, and the record of the losses.

A complete GAN::

    class Tiny(Recipe):
        def __init__(self, seed: int) -> None:
            with seeded(seed):
                g, d = Generator(), Critic()
            super().__init__(
                networks={"G": g, "D": d},
                optimisers={"G": Adam(g.parameters(), 2e-4), "D": Adam(d.parameters(), 2e-4)},
                extras={"pool": ImagePool(50)},
            )

        def schedule(self, moment: Moment) -> None:
            scale_rates(self.optimisers.values(), linear_decay(moment, hold=0.5))

        def step(self, step: Step) -> None:
            def generator(part: Part) -> Losses:
                part["fake"] = self.networks["G"](signed(part["source"]))
                return {"G": (self.networks["D"](part["fake"]) - 1).square().mean()}

            def critic(part: Part) -> Losses:
                fake = self.extras["pool"].query(part["fake"].detach(), step.rng)
                real = self.networks["D"](signed(part["target"]))
                return {"D": 0.5 * ((real - 1).square().mean() + self.networks["D"](fake).square().mean())}

            step.update("G", generator, clip=1.0)
            step.update("D", critic)

    def fit(self, data, context):
        self.recipe = Tiny(context.seed)
        sampler = UnpairedSampler(data.source_train, data.target_train, augment=resize_crop(286, 256))
        self.history = train(self.recipe, sampler, context, Budget(epochs=200, minutes=30), batch_size=4)

    def save(self, folder):
        torch.save(self.recipe.networks["G"].state_dict(), folder / "generator.pt")
        self.history.save(folder)

Everything random in training is a pure function of (``context.seed``, epoch, position) or (``context.seed``, step), so
a fit that was killed and resumed ends with the weights of an uninterrupted one: bit for bit on one kind of CPU with
float32, equal threads and a budget in epochs or steps.
"""

from __future__ import annotations

from mtbench.training.augment import Augmentation, chain, flip, pad_crop, resize_crop
from mtbench.training.budget import Budget
from mtbench.training.history import History, join
from mtbench.training.loop import train
from mtbench.training.recipe import Losses, Moment, Part, Recipe, Step
from mtbench.training.samplers import AlignedSampler, PairedSampler, Sampler, UnpairedSampler, order
from mtbench.training.scope import no_grad, numerics, seeded
from mtbench.training.tools import ImagePool, linear_decay, scale_rates, signed, unsigned

__all__ = [
    "AlignedSampler",
    "Augmentation",
    "Budget",
    "History",
    "ImagePool",
    "Losses",
    "Moment",
    "PairedSampler",
    "Part",
    "Recipe",
    "Sampler",
    "Step",
    "UnpairedSampler",
    "chain",
    "flip",
    "join",
    "linear_decay",
    "no_grad",
    "numerics",
    "order",
    "pad_crop",
    "resize_crop",
    "scale_rates",
    "seeded",
    "signed",
    "train",
    "unsigned",
]

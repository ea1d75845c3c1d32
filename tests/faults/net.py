"""A plugin file: a translator with a network that really learns, with a checkpoint after every few steps."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mtbench


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    yield mtbench.TranslatorSpec("toy-net", ":Net", params={"steps": 24}, trains=True)


class Net:
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def make(self, seed: int) -> Any:
        import torch

        from mtbench.training import Recipe, seeded

        class Halting(torch.optim.Adam):
            """An optimiser that can be killed between two of its parameters."""

            def step(self, closure: Any = None) -> Any:
                last = self.param_groups[-1]["params"].pop()
                super().step()
                sys.modules["sitecustomize"].hit("step") if hasattr(sys.modules.get("sitecustomize"), "hit") else None
                self.param_groups[-1]["params"].append(last)
                with torch.no_grad():
                    last.sub_(1e-3 * last.grad.sign())

        class Tiny(Recipe):
            def __init__(self) -> None:
                with seeded(seed):
                    net = torch.nn.Sequential(
                        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3, padding=1)
                    )
                super().__init__(networks={"G": net}, optimisers={"G": Halting(net.parameters(), 1e-3)})

            def step(self, step: Any) -> None:
                def loss(part: Any) -> Any:
                    output = self.networks["G"](part["source"])
                    return {"G": (output.mean((1, 2, 3)) - part["target"].mean((1, 2, 3))).square().mean()}

                step.update("G", loss)

        return Tiny()

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        from mtbench.compute.checkpoints import Checkpoints
        from mtbench.training import Budget, UnpairedSampler, train

        assert context.checkpoints is not None
        often = Checkpoints(context.checkpoints.folder, every_seconds=0.01)
        context = dataclasses.replace(context, checkpoints=often)
        self.recipe = self.make(context.seed)
        sampler = UnpairedSampler(data.source_train, data.target_train)
        train(self.recipe, sampler, context, Budget(steps=self.steps), batch_size=2)

    def save(self, folder: Path) -> None:
        import torch

        torch.save(self.recipe.networks["G"].state_dict(), folder / "net.pt")

    def load(self, folder: Path) -> None:
        import torch

        self.recipe = self.make(0)
        self.recipe.networks["G"].load_state_dict(torch.load(folder / "net.pt", weights_only=True))

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        return self.recipe.networks["G"](batch.source).clamp(0, 1)

"""The study of docs/metric-study.md: which metric can choose a checkpoint, a fit, a model?

    python benchmarks/study/study.py run FOLDER        # hours; resumes where it was stopped
    python benchmarks/study/study.py summary FOLDER    # the tables and the figure of the page
    python benchmarks/study/study.py tables FOLDER     # every number, by each yardstick
    python benchmarks/study/study.py pilot FOLDER      # one fit of each model on other anatomies, for the budget

``--tasks lumbar`` restricts it, ``--configurations N`` sets how many settings of each model are drawn, and ``--metrics
FILE`` replaces the metrics (the `metrics` of a suite, for example with real weights).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from verdicts import REVERSE

import mtbench
from mtbench.compute.seeds import generator

HERE = Path(__file__).parent
SIZE = 48
CONFIGURATIONS = 4

Value = float | int | str | bool
Draw = Callable[[np.random.Generator], Mapping[str, Value]]


@dataclass(frozen=True)
class StudyTask:
    """A phantom and its anatomies. Of each domain 40 patients train, 40 validate and 40 test."""

    name: str
    phantom: str
    seed: int


TASKS = (
    StudyTask("lumbar", "phantom-lumbar", 201),
    StudyTask("lumbar-fresh", "phantom-lumbar", 202),
    StudyTask("breast", "phantom-breast", 203),
)
PILOT = StudyTask("pilot", "phantom-lumbar", 999)
PATIENTS = 40
TARGET_PATIENTS = (10, 20, 40)
"""How many target patients, or pairs of patients, a fit may read."""


def _steps(rng: np.random.Generator, low: int, high: int) -> int:
    return round(_log(rng, low, high))


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform, to three digits."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def _shared(rng: np.random.Generator, low: int, high: int) -> dict[str, Value]:
    widths = (8, 12, 16, 24)
    return {
        "steps": _steps(rng, low, high),
        "lr": _log(rng, 2e-4, 2e-3),
        "ngf": int(rng.choice(widths)),
        "ndf": int(rng.choice(widths)),
        "flip": False,
        "load_size": SIZE,
    }


def _cyclegan(rng: np.random.Generator) -> Mapping[str, Value]:
    weight = _log(rng, 2, 20)
    identity = float(rng.choice([0.0, 0.5]))
    return {
        **_shared(rng, 400, 900),
        "n_blocks": 2,
        "lambda_A": weight,
        "lambda_B": weight,
        "lambda_identity": identity,
    }


def _cut(rng: np.random.Generator) -> Mapping[str, Value]:
    contrast = {"lambda_NCE": _log(rng, 0.25, 4), "nce_idt": bool(rng.random() < 0.5)}
    return {**_shared(rng, 450, 1000), "n_blocks": 2, "num_patches": 64, "netF_nc": 64, **contrast}


def _unsb(rng: np.random.Generator) -> Mapping[str, Value]:
    weights = {"lambda_NCE": _log(rng, 0.25, 4), "lambda_SB": _log(rng, 0.25, 4)}
    return {**_shared(rng, 250, 600), "n_blocks": 2, "num_timesteps": 3, "num_patches": 64, "netF_nc": 64, **weights}


def _pix2pix(rng: np.random.Generator) -> Mapping[str, Value]:
    return {**_shared(rng, 900, 2000), "lambda_L1": _log(rng, 10, 200)}


def _regression(rng: np.random.Generator) -> Mapping[str, Value]:
    return {
        "steps": _steps(rng, 1500, 3500),
        "lr": _log(rng, 5e-4, 5e-3),
        "width": int(rng.choice((4, 8, 16))),
        "levels": 4,
        "loss": str(rng.choice(("l1", "l2"))),
        "flip": False,
    }


MODELS: Mapping[str, Draw] = {
    "cyclegan": _cyclegan,
    "cut": _cut,
    "unsb": _unsb,
    "pix2pix": _pix2pix,
    "regression-unet": _regression,
}
"""The models that train without reading masks, and the distribution of their settings."""

METRICS = """
metrics = ["mae", "ssim", "placement", "class-error", "dice", "dice-gain", "swd", "nmi-source", "frd",
    "mmd:extractor=radiomics", "prdc:extractor=radiomics", "c2st:extractor=radiomics",
    "nearest-neighbour:extractor=radiomics",
    "fd:extractor=self-supervised", "mmd:extractor=self-supervised", "prdc:extractor=self-supervised",
    "fd:extractor=segmenter-bottleneck"]
"""


def suite(task: StudyTask, metrics: str, configurations: int, reverse: bool = False) -> str:
    """The suite of a task: every model with as many settings as are wanted, drawn by task, model and number.

    ``reverse``: each final checkpoint judged by a segmenter that trains on its translations.
    """
    share = (PATIENTS + 0.01) / (3 * PATIENTS)
    protocol = 'protocols = ["train-on-translated"]\nreferences = false\n' if reverse else ""
    lines = [
        'metrics = ["dice"]' if reverse else metrics,
        f'[suite]\nname = "{task.name}"\nthreads = 1\n{protocol}',
        f'[[datasets]]\nname = "{task.name}"\nplugin = "{task.phantom}"',
        f"params.size = {SIZE}\nparams.slices = 1\nparams.seed = {task.seed}",
        f"params.patients_source = {3 * PATIENTS}\nparams.patients_target = {3 * PATIENTS}",
        f'split = {{ by = "seed", seed = 0, validation = {share:.6f}, test = {share:.6f} }}\n',
        '[[translators]]\nname = "identity"\n',
        f'[[segmenters]]\nname = "unet"\nseeds = {[0] if reverse else [0, 1]}',
        "params = { epochs = 60, filters = 12, levels = 4 }\n",
    ]
    for model, draw in MODELS.items():
        for number in range(configurations):
            rng = generator("study", task.name, model, number)
            params = "\n".join(f"params.{name} = {_toml(value)}" for name, value in draw(rng).items())
            patients = f"target_patients = {rng.choice(TARGET_PATIENTS)}"
            lines.append(
                f'[[translators]]\nname = "{model}-{number}"\nplugin = "{model}"\nkeep = 4\n{patients}\n{params}\n'
            )
    return "\n".join(lines)


def _toml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def run(folder: Path, tasks: tuple[StudyTask, ...], metrics: str, configurations: int) -> None:
    """Write the suites and run them one after the other, in this process, in one store."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for name in (task.name, task.name + REVERSE):
            path = folder / f"{name}.toml"
            path.write_text(suite(task, metrics, configurations, name != task.name), encoding="utf-8")
            mtbench.run(
                str(path),
                out=str(folder / name),
                store=str(folder / "store"),
                plugin_files=[str(HERE / "yardsticks.py")],
                executor="inline",
                device="cpu",
            )


def report(results: Sequence[Path], folder: Path, whole: bool) -> None:
    """Print the tables; draw the figure unless the ``whole`` of them is asked for."""
    from figure import draw
    from verdicts import hypotheses, regret_summary, summary, tables

    if whole:
        print("\n".join(tables(results)))
        return
    print("\n".join((*summary(results), "", *regret_summary(results), "", *hypotheses(results))))
    draw(results, folder / "metric-study.png")


def chosen(names: list[str]) -> Iterator[StudyTask]:
    """The tasks of these names; all without one."""
    return (task for task in TASKS if not names or task.name in names)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "summary", "tables", "pilot"))
    parser.add_argument("folder", type=Path, help="of suites, results and store")
    parser.add_argument("--tasks", nargs="+", default=[], choices=[task.name for task in TASKS])
    parser.add_argument("--metrics", type=Path, help="a TOML file with the metrics, instead of the study's")
    parser.add_argument("--configurations", type=int, default=CONFIGURATIONS, help="settings of each model")
    parsed = parser.parse_args()
    metrics = parsed.metrics.read_text(encoding="utf-8") if parsed.metrics else METRICS
    if parsed.action == "pilot":
        run(parsed.folder, (PILOT,), metrics, 1)
    elif parsed.action == "run":
        run(parsed.folder, tuple(chosen(parsed.tasks)), metrics, parsed.configurations)
    else:
        report([parsed.folder / task.name for task in chosen(parsed.tasks)], parsed.folder, parsed.action == "tables")


if __name__ == "__main__":
    main()

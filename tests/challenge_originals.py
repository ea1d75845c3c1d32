"""What the challenges' own programs compute on :mod:`challenge_submissions`, recorded in ``challenge_originals.json``.

Run it where the programs' dependencies are installed, once for each challenge; it needs no mtbench:

    python tests/challenge_originals.py synthrad2023 FOLDER-OF-SynthRAD2023/metrics
    python tests/challenge_originals.py synthrad2025 FOLDER-OF-SynthRAD2025/evaluation
    python tests/challenge_originals.py brasyn FOLDER-OF-hongweilibran/BraSyn
    python tests/challenge_originals.py brats FOLDER-OF-rachitsaluja/BraTS-2023-Metrics
    python tests/challenge_originals.py mrixfields2026 FOLDER-OF-MRIxFields/MRIxFields2026
    python tests/challenge_originals.py rank_teams FOLDER-OF-SynthRAD2025/evaluation

Each program runs as it is. Its TotalSegmentator and LPIPS are replaced, because they need weights: label maps are read
from files, and LPIPS is not recorded.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import challenge_submissions as submissions
import numpy as np

FILE = Path(__file__).with_suffix(".json")


def module(name: str, **members: Any) -> None:
    """A stand-in for a module that is not installed."""
    made = ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made


def synthrad2023(code: Path, folder: Path) -> Any:
    """The methods of ``ImageMetrics`` for each case.

    ``score_patient`` of the public file passes the mask to ``ssim`` as an image and stops with an error; here it is an
    array, as for the two other methods.
    """
    import SimpleITK

    sys.path.insert(0, str(code / "functions"))
    module("evalutils")
    module("evalutils.io", SimpleITKLoader=object)
    submissions.synthrad(folder)
    from image_metrics import ImageMetrics

    def array(path: Path) -> Any:
        return SimpleITK.GetArrayFromImage(SimpleITK.Cast(SimpleITK.ReadImage(str(path)), SimpleITK.sitkFloat32))

    metrics, values = ImageMetrics(), {}
    for path in sorted((folder / "truth/ct").glob("*.mha")):
        truth, image, mask = (array(folder / kind / path.name) for kind in ("truth/ct", "input", "truth/mask"))
        values[path.stem] = {
            "mae": metrics.mae(truth, image, mask),
            "ssim": float(metrics.ssim(truth, image, mask)),
            "psnr": metrics.psnr(truth, image, mask, use_population_range=True),
        }
    return values


def synthrad2025(code: Path, folder: Path) -> Any:
    """``evaluate.main``, one case after the other in this process."""
    import SimpleITK

    sys.path.insert(0, str(code))
    submissions.synthrad(folder)

    class FromFile:
        def __init__(self, verbose: bool = False) -> None:
            pass

        def score_patient(self, path: str, orientation: Any) -> Any:
            labels = SimpleITK.ReadImage(str(folder / "segmented" / Path(path).name))
            return np.transpose(SimpleITK.GetArrayFromImage(labels), [2, 1, 0])

    class Pool:
        def __init__(self, processes: int, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
            initializer(*initargs)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def map(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
            return [function(item) for item in sorted(items)]

    module("totalsegmentator")
    module("ts_utils", MinialTotalSegmentator=FromFile)
    import evaluate
    import torch

    torch.multiprocessing.Pool = Pool
    evaluate.INPUT_DIRECTORY, evaluate.OUTPUT_DIRECTORY = folder / "input", folder
    evaluate.GROUND_TRUTH_DIRECTORY = folder / "truth"
    evaluate.main()
    return json.loads((folder / "metrics.json").read_text())


def brasyn(code: Path, folder: Path) -> Any:
    """``ssim.py`` and ``evaluation_utils.compute_metrics`` for each case, the tumour as the mask."""
    import SimpleITK
    import torch

    submissions.brasyn(folder)
    sys.path.insert(0, str(code))
    import evaluation_utils

    values = {}
    for case in sorted((folder / "input").iterdir()):
        image = next(case.glob("*.nii.gz"))
        seg = folder / "truth" / case.name / f"{case.name}-seg.nii.gz"
        # ssim.py reads fixed paths.
        place = folder / "fixed/data"
        for kind, path in (("reference", folder / "truth" / case.name / image.name), ("output", image)):
            target = place / kind / "BraTS-GLI-00000-000"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / "BraTS-GLI-00000-000-t1n.nii.gz")
        shutil.copy(seg, place / "reference/BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz")
        command = [sys.executable, str(code / "ssim.py")]
        printed = subprocess.run(command, cwd=place.parent, capture_output=True, text=True, check=True).stdout
        inside, outside = map(float, printed.split())
        paths = (folder / "truth" / case.name / image.name, image, seg)
        truth, prediction, mask = (
            torch.from_numpy(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))[None, None] for path in paths
        )
        mse, psnr, ssim = evaluation_utils.compute_metrics(truth, prediction, mask > 0)
        scores = {"SSIM_tumor": inside, "SSIM_non_tumor": outside, "MSE": mse, "PSNR": psnr, "SSIM": ssim}
        values[case.name] = {name: value for name, value in scores.items() if not np.isnan(value)}
    return values


def brats(code: Path, folder: Path) -> Any:
    """``get_LesionWiseResults`` for each case of BraSyn, with the parameters of gliomas.

    pandas since 1.4 cannot replace values beside a column of arrays, so the column of numbers is replaced alone.
    """
    import pandas

    replace = pandas.DataFrame.replace

    def of_numbers(frame: Any, value: Any, other: Any, **options: Any) -> Any:
        if "predicted_lesion_numbers" not in frame:
            return replace(frame, value, other, **options)
        return frame.assign(hd95_lesionwise=frame["hd95_lesionwise"].replace(value, other))

    pandas.DataFrame.replace = of_numbers
    submissions.brasyn(folder)
    sys.path.insert(0, str(code))
    import metrics

    return {
        path.name.removesuffix(".nii.gz"): metrics.get_LesionWiseResults(
            str(path),
            str(next((folder / "truth" / path.name.removesuffix(".nii.gz")).glob("*-seg.nii.gz"))),
            "BraTS-GLI",
        )
        .set_index("Labels")
        .astype(float)
        .T.to_dict()
        for path in sorted((folder / "segmented").glob("*.nii.gz"))
    }


def mrixfields2026(code: Path, folder: Path) -> Any:
    """``score.py`` with label maps and without, without LPIPS."""
    sys.path.insert(0, str(code / "Submission/evaluation-2026"))
    import score

    score.compute_lpips = lambda *args, **kwargs: 0.0
    values = {}
    for name in ("segmented", "without"):
        submissions.mrixfields(folder / name, segmented=name == "segmented")
        where = {"-i": "input/task1", "-g": "truth/task1", "-o": "output"}
        sys.argv = [
            "score.py",
            "-t",
            "task1",
            *(each for key, path in where.items() for each in (key, str(folder / name / path))),
        ]
        score.main()
        results = json.loads((folder / name / "output/Result/results.json").read_text())
        values[name] = {key: value for key, value in results.items() if "LPIPS" not in key}
    return values


def rank_teams(code: Path, folder: Path) -> Any:
    """``rank_teams.py`` on the export of a leaderboard, for the metrics of both challenges."""
    sys.path.insert(0, str(code))
    import rank_teams

    os.chdir(folder)
    values = {}
    for challenge in submissions.DIRECTIONS:
        with open("export.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["created", "a", "title", "pk", "published", "b", "c", "d", "status", "outputs"])
            for name, metrics in submissions.teams(challenge).items():
                aggregates = {metric: {"mean": float(np.mean(each))} for metric, each in metrics.items()}
                outputs = json.dumps([{"value": {"aggregates": aggregates}}])
                writer.writerow(["", "", f"Evaluation {name}", name, "True", "", "", "", "Succeeded", outputs])
        export, metrics = rank_teams.create_export_dict("export.csv")
        totals = rank_teams.normalize_metrics(metrics)
        rank_teams.rank_and_save(totals, metrics, export)
        with open("final_ranking.csv", newline="") as file:
            values[challenge] = [[row["pk"], float(row["Sum of normalized metrics"])] for row in csv.DictReader(file)]
    return values


CHALLENGES: Mapping[str, Callable[[Path, Path], Any]] = {
    "synthrad2023": synthrad2023,
    "synthrad2025": synthrad2025,
    "brasyn": brasyn,
    "brats": brats,
    "mrixfields2026": mrixfields2026,
    "rank_teams": rank_teams,
}
LIBRARIES = ("numpy", "scipy", "scikit-image", "SimpleITK", "monai", "torchmetrics", "pandas", "nibabel")


def commit_of(code: Path) -> str:
    """The commit of the program, from its checkout or from a file COMMIT beside it."""
    file = code / "COMMIT"
    if file.is_file():
        return file.read_text().strip()
    return subprocess.run(["git", "-C", str(code), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Run one program and record its values."""
    name, code = sys.argv[1], Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        values = CHALLENGES[name](code, Path(folder))
    installed = {library: version for library in LIBRARIES if (version := _version(library))}
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    recorded[name] = {
        "program": sys.argv[3] if len(sys.argv) > 3 else code.name,
        "commit": sys.argv[4] if len(sys.argv) > 4 else commit_of(code),
        "command": f"python tests/challenge_originals.py {name} FOLDER",
        "libraries": installed,
        "values": values,
    }
    FILE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()

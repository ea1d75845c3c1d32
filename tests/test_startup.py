"""What starts fast imports nothing heavy."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import mtbench

HEAVY = (
    "torch",
    "torchvision",
    "monai",
    "scipy",
    "skimage",
    "pandas",
    "nibabel",
    "pydicom",
    "matplotlib",
    "plotly",
    "jinja2",
)
ARRAYS = ("numpy", "pyarrow")


def heavy_after(code: str, heavy: tuple[str, ...] = HEAVY) -> str:
    """What of ``heavy`` a fresh Python has imported after running ``code``."""
    look = f"print('HEAVY', sorted({{name.partition('.')[0] for name in sys.modules}} & set({heavy!r})))"
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    print('EXIT', end.code)\n{look}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "EXIT 0" in ran.stdout or "main(" not in code
    return ran.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins"], ["plan", "quickstart"]], ids=lambda arguments: " ".join(arguments)
)
def test_light_verbs_import_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_after(f"from mtbench.cli import main; main({arguments!r})") == "HEAVY []"


@pytest.mark.parametrize(
    "code",
    ["from mtbench.cli import main; main(['--help'])", "import mtbench; assert 'ImageSet' in dir(mtbench)"],
    ids=["help", "import"],
)
def test_help_and_the_import_load_no_arrays(code: str) -> None:
    assert heavy_after(code, HEAVY + ARRAYS) == "HEAVY []"


def test_four_verbs_are_public() -> None:
    functions = {name for name in mtbench.__all__ if inspect.isfunction(getattr(mtbench, name))}
    assert functions == {"load", "run", "score", "translate"}
    assert set(mtbench.__all__) <= set(dir(mtbench))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        mtbench.runn  # type: ignore[attr-defined]  # noqa: B018


def test_importing_mtbench_and_every_public_name_is_light() -> None:
    assert heavy_after("import mtbench; [getattr(mtbench, name) for name in mtbench.__all__]") == "HEAVY []"

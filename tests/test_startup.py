"""What starts fast imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
LOOK = "print('HEAVY', sorted({name.partition('.')[0] for name in sys.modules} & set(" + repr(HEAVY) + ")))"


def heavy_after(code: str) -> str:
    """What of HEAVY a fresh Python has imported after running ``code``."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    print('EXIT', end.code)\n{LOOK}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "EXIT 0" in ran.stdout or "main(" not in code
    return ran.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins"], ["plan", "quickstart"]], ids=lambda arguments: " ".join(arguments)
)
def test_light_verbs_import_nothing_heavy(arguments: list[str]) -> None:
    assert heavy_after(f"from mtbench.cli import main; main({arguments!r})") == "HEAVY []"


def test_importing_mtbench_and_every_public_name_is_light() -> None:
    assert heavy_after("import mtbench; [getattr(mtbench, name) for name in mtbench.__all__]") == "HEAVY []"

"""``python -m mtbench``."""

from mtbench.cli import main

main()

"""Imported before anything else of mtbench: where mtbench is the program, it leaves the current folder."""

from __future__ import annotations

import os
import sys

from mtbench.childprocess import leave_current_folder

# The script or the module (`-m mtbench`) that Python was asked to run: what follows it are the program's arguments.
_asked = sys.orig_argv[-len(sys.argv) :][:1]
if _asked and os.path.basename(_asked[0].removeprefix("-m")).partition(".")[0] == "mtbench":
    leave_current_folder()

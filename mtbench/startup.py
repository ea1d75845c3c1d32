"""Imported before the rest of mtbench: if mtbench is the program, removes the current folder from the search path."""

from __future__ import annotations

import os
import sys

from mtbench.childprocess import leave_current_folder

# The script or module (`-m mtbench`) on Python's command line; the program's arguments follow it.
_asked = sys.orig_argv[-len(sys.argv) :][:1]
if _asked and os.path.basename(_asked[0].removeprefix("-m")).partition(".")[0] == "mtbench":
    leave_current_folder()

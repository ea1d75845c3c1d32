"""How torch's processor threads wait for one another. To be said before torch is loaded; afterwards it is too late."""

from __future__ import annotations

import os


def wait_briefly() -> None:
    """Have threads that wait give up their core within microseconds, unless the user's environment says otherwise.

    GNU OpenMP's threads spin for milliseconds at the end of every loop by default. Where others use the cores too, a
    second unit or another person's work, those that are waited for do not get on meanwhile: a small network then
    takes ten to a hundred times as long. The shorter spin costs a few per cent of a small network on a machine of one's
    own, and changes no number.
    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")

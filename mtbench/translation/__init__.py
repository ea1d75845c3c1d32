"""A trained translator on new images, without a suite: ``mtbench.translate`` and ``mtbench translate``."""

from mtbench.translation.request import Translated, translate

__all__ = ["Translated", "translate"]

"""The lesion phantom as a data set: FLAIR to T1, with control over who has lesions."""

from __future__ import annotations

from math import floor
from typing import Literal

from mtbench.data import Split
from mtbench_plugins.datasets.phantoms import brain_scanners
from mtbench_plugins.datasets.phantoms.brain import brain_anatomy
from mtbench_plugins.datasets.phantoms.dataset import Phantom
from mtbench_plugins.datasets.phantoms.lesions import draw_lesions, with_lesions
from mtbench_plugins.datasets.phantoms.space import Anatomy

EVALUATION = 0.5
"""Share of validation and of test patients who have lesions, whatever the training set has."""


class LesionPhantom(Phantom):
    """Axial FLAIR to T1 of heads; label 1 is the brain, 2 its ventricles, 3 lesions.

    A patient has three lesions (of 20, 10 and 5 mm) or none. The lesions of a patient are the same at every
    prevalence: two data sets that differ in prevalence differ in whether a training patient has them.

    The split is the data set's: of the patients of each domain in order, 65 % train, 10 % validate and 25 % test.

    Args:
        size: pixels per side.
        patients_source, patients_target: patients of each domain, all splits together.
        slices: slices per patient.
        seed: another seed draws other patients.
        prevalence_source, prevalence_target: share of the domain's training patients who have lesions, 0 to 1.
    """

    name = "phantom-lesions"
    anatomy = staticmethod(brain_anatomy)
    source = staticmethod(brain_scanners.flair)
    target = staticmethod(brain_scanners.t1)
    scanners = ("simulated FLAIR", "simulated T1")

    def __init__(
        self,
        size: int,
        patients_source: int,
        patients_target: int,
        slices: int,
        seed: int,
        prevalence_source: float,
        prevalence_target: float,
    ) -> None:
        super().__init__(size, patients_source, patients_target, slices, seed)
        self.prevalence = {"source": prevalence_source, "target": prevalence_target}

    def has_lesions(self, domain: str, number: int) -> bool:
        """Whether patient ``number`` of ``domain`` has lesions.

        Of n patients of a split, n times the prevalence have lesions, rounded half up, evenly spread.
        """
        split, place = self._place(domain, number)
        share = self.prevalence[domain] if split == "train" else EVALUATION
        return floor((place + 1) * share + 0.5) > floor(place * share + 0.5)

    def _draw(self, domain: str, number: int) -> Anatomy:
        names = (self.seed, domain, number)
        lesions = draw_lesions(*names) if self.has_lesions(domain, number) else ()
        return with_lesions(brain_anatomy(self.size, self.slices, *names), lesions)

    def _split(self, domain: str, number: int) -> Split | Literal[""]:
        return self._place(domain, number)[0]

    def _place(self, domain: str, number: int) -> tuple[Split, int]:
        """The split of a patient, and how many patients of that split come before."""
        count = self.patients[domain]
        test = max(round(0.25 * count), 1) if count > 1 else 0
        validation = max(round(0.1 * count), 1) if count > 2 else 0
        train = count - validation - test
        if number < train:
            return "train", number
        if number < train + validation:
            return "validation", number - train
        return "test", number - train - validation

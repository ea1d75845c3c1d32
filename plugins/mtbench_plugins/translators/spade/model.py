"""SPADE as a translator."""

from __future__ import annotations

from torch import Tensor, nn

from mtbench import Batch, Context, DataError, TrainingData, WeightsError
from mtbench.compute.seeds import derive
from mtbench.training import PairedSampler
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.spade.checkpoint import LAYOUT
from mtbench_plugins.translators.spade.labels import Labels
from mtbench_plugins.translators.spade.training import SpadeRecipe
from mtbench_plugins.translators.spade.vgg import WEIGHTS, PerceptualLoss


class Spade(GeneratorTranslator):
    """Park et al. 2019: generates an image from a label map; the source image itself is not used.

    Trained on the target's images with their label maps, applied to the source's label maps. As the original:
    initial weights by Glorot with gain 0.02, hinge loss, feature matching and VGG loss weighing 10, Adam
    (0, 0.9) at 1e-4 for the generator and 4e-4 for the discriminator, 50 epochs, images enlarged to 286/256,
    cropped at random and mirrored. If the weights of the VGG loss are not installed, the loss is omitted and the record
    says so. Batch norm uses its running statistics in translation, so a translation does not depend on the rest of the
    batch. Label maps whose size is not a multiple of 32 are padded by reflection and the image is cropped back.
    """

    name = "spade"
    file = "latest_net_G.pth"
    multiple = 32
    smallest = 32
    instance_norm = False

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return LAYOUT

    def generate(self, network: nn.Module, batch: Batch, context: Context) -> Tensor:
        """Generate images from the label maps.

        Raises:
            DataError: there are none, or they hold values that the task does not list.
            WeightsError: the generator has another number of labels.
        """
        if batch.masks is None or context.task is None:
            raise DataError("spade generates images from label maps, and there are none", where=self.name)
        labels = Labels(context.task)
        label_count = self.sizes(network)["label_nc"]
        if label_count != len(labels):
            raise WeightsError(
                f"this generator has {label_count} labels and the task has {len(labels)}, background included",
                where=str(self.params["checkpoint"] or self.name),
                expected="a generator trained on label maps with the same labels",
            )
        height, width = batch.masks.shape[1:]
        segmap = self.padded(labels.one_hot(batch.masks, check="source"))
        out: Tensor = network(segmap.contiguous(memory_format=self.memory_format(context.device)))
        return out[:, :, :height, :width]

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on the target's slices and their label maps.

        Raises:
            DataError: there are no label maps, they hold values that the task does not list, or crops would
                be smaller than 64 pixels.
            TrainingError: see ``mtbench.training.train``.
        """
        target = data.target_train
        if target is None or target.masks is None:
            raise DataError("spade needs label maps of the target's training slices", where=data.task.dataset)
        labels = Labels(data.task)
        labels.check(target.masks, "target")
        augment = fitting.augmentation(self.params, target.size, multiple=32, smallest=64, jitter=True)
        examples = fitting.preview(data.target_validation, target)
        segmap = self.padded(labels.one_hot(examples.mask_tensor(), check="target"))
        preview = (segmap, self.padded(examples.tensor()))
        perceptual = self._perceptual(context)
        recipe = SpadeRecipe(self.params, labels, derive(context.seed, "initial weights"), preview, perceptual)
        self.network = recipe.networks["G"]
        self.train(recipe, PairedSampler(target, augment=augment), context, epochs=50)

    def _perceptual(self, context: Context) -> PerceptualLoss | None:
        if self.params["lambda_vgg"] == 0:
            return None
        try:
            return PerceptualLoss(context.weights(WEIGHTS))
        except WeightsError as error:
            context.log.append(f"trained without the VGG loss: {error}")
            context.remark("Trained without the VGG loss (vgg19-imagenet is not installed).")
            return None

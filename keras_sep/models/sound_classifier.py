"""What is heard: a MobileNet over log-mel patches."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_sep.layers import LogMelSpectrogram
from keras_sep.models.mobilenet import MobileNet


@keras.saving.register_keras_serializable(package="keras_sep")
class SoundClassifier(keras.Model):
    """Class probabilities of waveforms at 16 kHz, of any length.

    The front end is YAMNet's: log-mel patches of 0.96 s, every 0.48 s. A MobileNet classifies each
    patch, and the probabilities are averaged. Zeros complete the last patch. All waveforms of a
    batch are as long as the longest: zeros at the end are heard as silence.

    Built when it is made; it learns from waveforms of one patch, `patch_samples`, as well as from
    longer ones. Probabilities are float32 under any dtype policy.

    Args:
        class_names: Names of the classes, two or more.
        version: Of the `MobileNet`.
        alpha: Its width.
        dropout_rate: Of the dropout before its classifier.
        normalization: "batch", or None for a bias in its place; see `export.fold_batch_norm`.

    Input: `(batch, samples)` between -1 and 1. Output: `(batch, num_classes)`, sums of 1.

    Raises:
        ValueError: `class_names` are fewer than two or not all different; another argument is out
            of the range of a `MobileNet`.

    Source: the front end and the averaging are YAMNet's, from TensorFlow's model garden; the
    network is Howard et al. 2017 (arXiv 1704.04861).
    """

    def __init__(
        self,
        class_names: Sequence[str],
        version: str = "v1",
        alpha: float = 0.25,
        dropout_rate: float = 0.2,
        normalization: str | None = "batch",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if len(class_names) < 2 or len(set(class_names)) < len(class_names):
            raise ValueError(
                f"class_names must be two or more different names, got {list(class_names)}"
            )
        self.class_names = list(class_names)
        self.version = version
        self.alpha = alpha
        self.dropout_rate = dropout_rate
        self.normalization = normalization
        self.front_end = LogMelSpectrogram.from_preset("yamnet", dtype="float32", name="front_end")
        self.network = MobileNet(
            version,
            alpha,
            (self.front_end.patch_frames, self.front_end.num_mel_bands, 1),
            num_classes=len(self.class_names),
            dropout_rate=dropout_rate,
            normalization=normalization,
            dtype=self.dtype_policy,
            name="network",
        )
        self.build((None, None))

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.front_end.sample_rate

    @property
    def patch_samples(self) -> int:
        """Samples that one patch is computed from."""
        return self.front_end.min_samples

    @property
    def patch_hop_samples(self) -> int:
        """Samples from one patch to the next."""
        return self.front_end.patch_hop * self.front_end.hop_size

    def build(self, input_shape):
        self.built = True

    def call(self, waveforms, training=None):
        patches = self.front_end(self._complete_last_patch(waveforms))
        images = ops.reshape(patches, (-1, *patches.shape[2:], 1))
        probabilities = ops.softmax(self.network(images, training=training))
        of_patches = ops.reshape(probabilities, (*ops.shape(patches)[:2], len(self.class_names)))
        return ops.mean(of_patches, axis=1)

    def _complete_last_patch(self, waveforms):
        """Zeros after waveforms, so that patches cover all of their samples, one at least."""
        beyond_first = ops.shape(waveforms)[1] - self.patch_samples
        # An int stays one: JAX slices by nothing else.
        is_known = isinstance(beyond_first, int)
        beyond_first = max(beyond_first, 0) if is_known else ops.maximum(beyond_first, 0)
        hops = (beyond_first + self.patch_hop_samples - 1) // self.patch_hop_samples
        padded = ops.pad(waveforms, ((0, 0), (0, self.patch_samples)))
        return padded[:, : self.patch_samples + hops * self.patch_hop_samples]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], len(self.class_names))

    def get_config(self):
        return {
            **super().get_config(),
            "class_names": self.class_names,
            "version": self.version,
            "alpha": self.alpha,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
        }

"""MobileNet V1, V2 and V3, networks of separable convolutions."""

import keras
from keras import ops

from keras_sep.layers import DepthwiseSeparableConv2D, InvertedResidual
from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.normalized_conv_2d import NormalizedConv2D
from keras_sep.layers.padding import check_padding
from keras_sep.models.costs import LayerCost, layer_costs
from keras_sep.models.mobilenet_tables import (
    VERSIONS,
    blocks,
    head_filters,
    hidden_units,
    stem_filters,
)


@keras.saving.register_keras_serializable(package="keras_sep")
class MobileNet(keras.Model):
    """Classifies images, or log-mel spectrograms, or gives their features.

    Built when it is made. Any size of image works; the feature map is `output_stride` times
    smaller, rounded up. Logits are float32 under any dtype policy.

    Args:
        version: "v1", "v2", "v3_small" or "v3_large".
        alpha: Width multiplier (α): scales the channels of all layers.
        input_shape: Height, width and channels of the images; the sizes may be None.
        include_top: Whether the pooled features go on to `num_classes` logits.
        num_classes: Classes.
        pooling: Without the top: "avg" or "max" over the feature map, or None for the map itself.
        dropout_rate: Of the dropout before the classifier.
        include_preprocessing: Whether images come as 0 … 255 and are scaled to -1 … 1 here.
        padding: Zeros at the edges: "same", as in the authors' code; "torch", as torchvision and
            timm; "keras", as `keras.applications` does where images of an odd size, or of a size
            unknown to it, are halved. See `DepthwiseConv2D`.
        normalization: "batch", or None for a bias in its place; see `export.fold_batch_norm`.
        epsilon: Added to the variances of the normalizations: 1e-3 in TensorFlow and Keras, 1e-5
            in timm and in torchvision's V2.
        output_stride: How many times smaller than the image the feature map is: 32, or 16, 8, 4 or
            2 for dense prediction or small images. Later strides are replaced by dilation, so the
            weights are the same.

    Input: `(batch, height, width, channels)`. Output: logits `(batch, num_classes)`, features
    `(batch, features)` or a map `(batch, height / output_stride, width / output_stride, features)`.

    Raises:
        ValueError: An argument is out of range.

    Source: Howard et al. 2017 (arXiv 1704.04861), table 1; Sandler et al. 2018 (arXiv
    1801.04381), table 2; Howard et al. 2019 (arXiv 1905.02244), tables 1 and 2. The output stride:
    Chen et al. 2017 (arXiv 1706.05587), section 3.1.
    """

    def __init__(
        self,
        version: str = "v1",
        alpha: float = 1.0,
        input_shape: tuple[int | None, int | None, int] = (None, None, 3),
        include_top: bool = True,
        num_classes: int = 1000,
        pooling: str | None = None,
        dropout_rate: float = 0.2,
        include_preprocessing: bool = False,
        padding: str = "same",
        normalization: str | None = "batch",
        epsilon: float = 1e-3,
        output_stride: int = 32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _check(version, alpha, input_shape, include_top, pooling, output_stride)
        check_at_least_one(num_classes=num_classes)
        check_padding(padding)
        self.version = version
        self.alpha = alpha
        self.input_shape = tuple(input_shape)
        self.include_top = include_top
        self.num_classes = num_classes
        self.pooling = pooling
        self.dropout_rate = dropout_rate
        self.include_preprocessing = include_preprocessing
        self.padding = padding
        self.normalization = normalization
        self.epsilon = epsilon
        self.output_stride = output_stride
        shared = {"normalization": normalization, "epsilon": epsilon, "dtype": self.dtype_policy}
        activation = "hard_swish" if version.startswith("v3") else "relu6"
        self.stem = NormalizedConv2D(
            stem_filters(version, alpha),
            kernel_size=3,
            strides=2,
            padding="same" if padding == "keras" else padding,
            activation=activation,
            name="stem",
            **shared,
        )
        block_class = DepthwiseSeparableConv2D if version == "v1" else InvertedResidual
        self.blocks = [
            block_class(**arguments, padding=padding, name=f"block_{index}", **shared)
            for index, arguments in enumerate(blocks(version, alpha, output_stride))
        ]
        self.head = None
        if version != "v1":
            self.head = NormalizedConv2D(
                head_filters(version, alpha), activation=activation, name="head", **shared
            )
        if include_top:
            self.hidden = None
            if version.startswith("v3"):
                self.hidden = keras.layers.Dense(
                    hidden_units(version, alpha), activation, dtype="float32", name="hidden"
                )
            self.dropout = keras.layers.Dropout(dropout_rate, dtype="float32", name="dropout")
            self.classifier = keras.layers.Dense(num_classes, dtype="float32", name="classifier")
        self.build((None, *self.input_shape))

    def build(self, input_shape):
        if self.built:
            return
        self.stem.build(input_shape)
        shape = self.stem.compute_output_shape(input_shape)
        for layer in self.blocks + ([] if self.head is None else [self.head]):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if self.include_top:
            features = (None, shape[-1])
            if self.hidden is not None:
                self.hidden.build(features)
                features = self.hidden.compute_output_shape(features)
            self.classifier.build(features)

    def call(self, images, training=None):
        x = ops.cast(images, self.compute_dtype)
        if self.include_preprocessing:
            x = x / 127.5 - 1.0
        x = self.stem(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        if self.head is not None:
            x = self.head(x, training=training)
        if self.include_top:
            return self._classify(x, training)
        if self.pooling is None:
            return x
        return ops.max(x, (1, 2)) if self.pooling == "max" else _mean(x)

    def _classify(self, x, training):
        x = _mean(x)
        if self.hidden is not None:
            x = self.hidden(x)
        return self.classifier(self.dropout(x, training=training))

    def costs(self, height: int, width: int) -> list[LayerCost]:
        """Parameters and multiply-adds of each part for an image of that size."""
        return layer_costs(self, (height, width, self.input_shape[-1]))

    def compute_output_shape(self, input_shape):
        if self.include_top:
            return (input_shape[0], self.num_classes)
        shape = self.stem.compute_output_shape(input_shape)
        for layer in self.blocks + ([] if self.head is None else [self.head]):
            shape = layer.compute_output_shape(shape)
        return shape if self.pooling is None else (shape[0], shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "version": self.version,
            "alpha": self.alpha,
            "input_shape": list(self.input_shape),
            "include_top": self.include_top,
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "dropout_rate": self.dropout_rate,
            "include_preprocessing": self.include_preprocessing,
            "padding": self.padding,
            "normalization": self.normalization,
            "epsilon": self.epsilon,
            "output_stride": self.output_stride,
        }


def _mean(x):
    return ops.mean(ops.cast(x, "float32"), (1, 2))


def _check(version, alpha, input_shape, include_top, pooling, output_stride):
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
    if stem_filters(version, alpha) < 1:
        raise ValueError(f"alpha must leave the first layer a filter, 1/32 or more, got {alpha}")
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise ValueError(
            "input_shape must be (height, width, channels) with a known number of channels, got "
            f"{input_shape}"
        )
    if pooling not in ("avg", "max", None) or (pooling and include_top):
        raise ValueError(
            'pooling must be "avg", "max" or None, and None with include_top=True, which averages; '
            f"got {pooling!r}"
        )
    if output_stride not in (2, 4, 8, 16, 32):
        raise ValueError(f"output_stride must be 2, 4, 8, 16 or 32, got {output_stride!r}")

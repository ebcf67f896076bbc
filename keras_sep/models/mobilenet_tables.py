"""The tables of the MobileNet papers, scaled by the width multiplier α."""

# Howard et al. 2017 (arXiv 1704.04861), table 1: pointwise filters, depthwise stride.
_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
_V1 += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]

# Sandler et al. 2018 (arXiv 1801.04381), table 2: t, c, n, s.
_V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]

# Howard et al. 2019 (arXiv 1905.02244), tables 1 and 2: kernel, exp size, #out, SE, NL, s.
_RE, _HS = "relu", "hard_swish"
_V3_LARGE = [
    (3, 16, 16, False, _RE, 1),
    (3, 64, 24, False, _RE, 2),
    (3, 72, 24, False, _RE, 1),
    (5, 72, 40, True, _RE, 2),
    (5, 120, 40, True, _RE, 1),
    (5, 120, 40, True, _RE, 1),
    (3, 240, 80, False, _HS, 2),
    (3, 200, 80, False, _HS, 1),
    (3, 184, 80, False, _HS, 1),
    (3, 184, 80, False, _HS, 1),
    (3, 480, 112, True, _HS, 1),
    (3, 672, 112, True, _HS, 1),
    (5, 672, 160, True, _HS, 2),
    (5, 960, 160, True, _HS, 1),
    (5, 960, 160, True, _HS, 1),
]
_V3_SMALL = [
    (3, 16, 16, True, _RE, 2),
    (3, 72, 24, False, _RE, 2),
    (3, 88, 24, False, _RE, 1),
    (5, 96, 40, True, _HS, 2),
    (5, 240, 40, True, _HS, 1),
    (5, 240, 40, True, _HS, 1),
    (5, 120, 48, True, _HS, 1),
    (5, 144, 48, True, _HS, 1),
    (5, 288, 96, True, _HS, 2),
    (5, 576, 96, True, _HS, 1),
    (5, 576, 96, True, _HS, 1),
]

VERSIONS = ("v1", "v2", "v3_small", "v3_large")


def stem_filters(version: str, alpha: float) -> int:
    """Filters of the first convolution; V3's, 16, are not scaled."""
    if version == "v1":
        return int(32 * alpha)
    return divisible(32 * alpha) if version == "v2" else 16


def blocks(version: str, alpha: float, output_stride: int = 32) -> list[dict]:
    """Arguments of each block: of `DepthwiseSeparableConv2D` for V1, of `InvertedResidual` else.

    Once the map is `output_stride` times smaller than the image, strides become dilation.
    """
    rows, reached, dilation = _undilated(version, alpha), 2, 1
    for row in rows:
        strides, row["dilation_rate"] = row["strides"], dilation
        if reached < output_stride:
            reached *= strides
        else:
            row["strides"] = 1
            dilation *= strides
    return rows


def _undilated(version, alpha):
    if version == "v1":
        return [{"filters": int(filters * alpha), "strides": strides} for filters, strides in _V1]
    channels = stem_filters(version, alpha)
    return (_v2 if version == "v2" else _v3)(version, alpha, channels)


def _v2(version, alpha, channels):
    rows = []
    for expansion, filters, repeats, first_strides in _V2:
        for strides in [first_strides] + [1] * (repeats - 1):
            scaled = divisible(filters * alpha)
            rows.append({"filters": scaled, "hidden_dim": expansion * channels, "strides": strides})
            channels = scaled
    return rows


def _v3(version, alpha, channels):
    rows, unscaled = [], 16
    for kernel_size, size, filters, squeezes, activation, strides in (
        _V3_SMALL if version == "v3_small" else _V3_LARGE
    ):
        # What is scaled is the widening, as in the authors' code.
        hidden_dim = divisible(channels * size / unscaled)
        row = {
            "filters": divisible(filters * alpha),
            "hidden_dim": hidden_dim,
            "kernel_size": kernel_size,
            "strides": strides,
            "activation": activation,
            "squeeze_dim": divisible(hidden_dim / 4) if squeezes else None,
        }
        rows.append(row)
        channels, unscaled = row["filters"], filters
    return rows


def head_filters(version: str, alpha: float) -> int | None:
    """Filters of the 1×1 convolution before the pooling, None for V1, which has none."""
    if version == "v1":
        return None
    if version == "v2":
        return divisible(1280 * max(alpha, 1.0))
    return divisible(6 * blocks(version, alpha)[-1]["filters"])


def hidden_units(version: str, alpha: float) -> int | None:
    """Units of V3's dense layer between pooling and classifier, None for the others."""
    units = {"v3_small": 1024, "v3_large": 1280}.get(version)
    return units and divisible(units * max(alpha, 1.0))


def divisible(channels: float) -> int:
    """The nearest multiple of 8, or the next one where that is less than 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded

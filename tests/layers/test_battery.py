"""The battery for every public layer."""

import inspect

import keras
import pytest
from layer_battery import CHECKS, Case, check_exports, check_stream

from keras_sep import layers

CASES = [
    Case(
        layers.WaveformEncoder,
        {"filters": 6, "kernel_size": 7, "strides": 3, "activation": "relu"},
        (None,),
    ),
    Case(
        layers.WaveformEncoder,
        {"filters": 6, "kernel_size": 4, "strides": 2, "padding": "valid"},
        (None,),
    ),
    Case(layers.WaveformDecoder, {"kernel_size": 7, "strides": 3}, (3, None, 4)),
    Case(
        layers.WaveformDecoder,
        {"kernel_size": 4, "strides": 2, "padding": "valid"},
        (None, 4),
    ),
    Case(
        layers.DepthwiseConv1D,
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        (None, 4),
    ),
    Case(
        layers.DepthwiseConv1D,
        {"kernel_size": 3, "dilation_rate": 2, "padding": "causal", "use_bias": False},
        (None, 4),
    ),
    Case(
        layers.DepthwiseConv2D,
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        (None, None, 4),
    ),
    Case(
        layers.DepthwiseSeparableConv1D,
        {"filters": 5, "kernel_size": 3, "strides": 2, "normalization": "global"},
        (None, 4),
    ),
    Case(
        layers.DepthwiseSeparableConv2D,
        {"filters": 5, "strides": 2, "padding": "torch"},
        (None, None, 4),
    ),
    Case(layers.SqueezeExcite, {"squeeze_dim": 3}, (None, None, 4)),
    Case(layers.InvertedResidual, {"filters": 4, "hidden_dim": 8}, (None, None, 4)),
    Case(
        layers.InvertedResidual,
        {
            "filters": 6,
            "hidden_dim": 8,
            "kernel_size": 5,
            "strides": 2,
            "padding": "keras",
            "activation": "hard_silu",  # Keras's name of hard swish.
            "squeeze_dim": 3,
            "normalization": None,
        },
        (None, None, 4),
    ),
    Case(layers.GlobalLayerNormalization, {"epsilon": 1e-6}, (None, 4)),
    Case(layers.ScalarPReLU, {}, (None, 4)),
    Case(layers.CumulativeLayerNormalization, {"epsilon": 1e-6}, (None, 4)),
    Case(
        layers.LogMelSpectrogram,
        {
            "sample_rate": 800,
            "window_size": 5,
            "hop_size": 2,
            "fft_size": 8,
            "num_mel_bands": 2,
            "mel_scale": "htk",
            "mel_axis": "mel",
            "patch_frames": 3,
            "patch_hop": 1,
        },
        (None,),
    ),
    Case(layers.TemporalBlock, {"hidden_dim": 6, "skip_dim": 3, "dilation_rate": 2}, (None, 4)),
    Case(
        layers.TemporalBlock,
        {"hidden_dim": 6, "skip_dim": None, "normalization": "batch"},
        (None, 4),
    ),
    Case(
        layers.TemporalConvNet,
        {
            "num_sources": 2,
            "bottleneck_dim": 4,
            "hidden_dim": 6,
            "skip_dim": 3,
            "conv_kernel_size": 2,
            "num_blocks": 2,
            "num_repeats": 1,
            "normalization": "cumulative",
            "mask_activation": "softmax",
            "causal": True,
        },
        (None, 5),
    ),
    Case(
        layers.VectorQuantizer,
        {"num_embeddings": 8, "embedding_dim": 4, "init": "kmeans", "restart_threshold": 0.5},
        (None, 4),
        half_inputs=True,
    ),
    Case(
        layers.VectorQuantizer,
        {"num_embeddings": 8, "embedding_dim": 4, "ema_decay": None},
        (None, 3, 4),
        half_inputs=True,
    ),
    Case(
        layers.ResidualVectorQuantizer,
        {"num_quantizers": 2, "num_embeddings": 8, "embedding_dim": 4},
        (None, 4),
        half_inputs=True,
    ),
    Case(layers.FiniteScalarQuantizer, {"levels": [5, 4, 3]}, (None, 3), half_inputs=True),
    Case(
        layers.CausalSelfAttention,
        {"num_heads": 2, "key_dim": 3, "dropout": 0.1},
        (None, None, 4),
        lengths=(3, 4),
    ),
    Case(layers.ResidualStack, {"num_blocks": 1, "hidden_dim": 3, "rank": 1}, (None, 4)),
]


# Causal layers, with and without skip path and with norms that have a state or none.
STREAMS = [
    Case(layers.WaveformEncoder, {"filters": 6, "kernel_size": 7, "strides": 3}, (None,)),
    Case(layers.WaveformDecoder, {"kernel_size": 7, "strides": 3}, (3, None, 4)),
    Case(
        layers.DepthwiseConv1D,
        {"kernel_size": 3, "dilation_rate": 2, "padding": "causal"},
        (None, 4),
    ),
    *(
        Case(
            layers.DepthwiseSeparableConv1D,
            {
                "filters": 5,
                "kernel_size": 3,
                "dilation_rate": 2,
                "padding": "causal",
                "normalization": normalization,
            },
            (None, 4),
        )
        for normalization in (None, "cumulative")
    ),
    Case(layers.CumulativeLayerNormalization, {}, (None, 4)),
    *(
        Case(
            layers.TemporalBlock,
            {
                "hidden_dim": 6,
                "skip_dim": skip_dim,
                "dilation_rate": 2,
                "normalization": normalization,
                "causal": True,
            },
            (None, 4),
        )
        for skip_dim, normalization in ((3, "cumulative"), (None, "batch"))
    ),
    *(
        Case(
            layers.TemporalConvNet,
            {
                "num_sources": 2,
                "bottleneck_dim": 4,
                "hidden_dim": 6,
                "skip_dim": skip_dim,
                "num_blocks": 2,
                "num_repeats": 1,
                "normalization": normalization,
                "causal": True,
            },
            (None, 5),
        )
        for skip_dim, normalization in ((3, "cumulative"), (None, "layer"))
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case, check, tmp_path):
    check(case, tmp_path)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_stream(case):
    check_stream(case)


def test_exports(tmp_path):
    check_exports(CASES, tmp_path)


def test_no_layer_is_forgotten():
    public = {getattr(layers, name) for name in layers.__all__}
    assert {case.layer_class for case in CASES} == public
    # The steps of attention go through grids, and are tested with it.
    steps = {layer for layer in public if hasattr(layer, "step")} - {layers.CausalSelfAttention}
    assert {case.layer_class for case in STREAMS} == steps
    assert public == {
        value
        for value in vars(layers).values()
        if inspect.isclass(value) and issubclass(value, keras.Layer)
    }

"""The building blocks of the papers, as Keras layers."""

from keras_sep.layers.causal_self_attention import CausalSelfAttention
from keras_sep.layers.cumulative_layer_normalization import CumulativeLayerNormalization
from keras_sep.layers.depthwise_conv_1d import DepthwiseConv1D
from keras_sep.layers.depthwise_conv_2d import DepthwiseConv2D
from keras_sep.layers.depthwise_separable_conv_1d import DepthwiseSeparableConv1D
from keras_sep.layers.depthwise_separable_conv_2d import DepthwiseSeparableConv2D
from keras_sep.layers.finite_scalar_quantizer import FiniteScalarQuantizer
from keras_sep.layers.global_layer_normalization import GlobalLayerNormalization
from keras_sep.layers.inverted_residual import InvertedResidual
from keras_sep.layers.log_mel_spectrogram import LogMelSpectrogram
from keras_sep.layers.residual_stack import ResidualStack
from keras_sep.layers.residual_vector_quantizer import ResidualVectorQuantizer
from keras_sep.layers.scalar_prelu import ScalarPReLU
from keras_sep.layers.squeeze_excite import SqueezeExcite
from keras_sep.layers.temporal_block import TemporalBlock
from keras_sep.layers.temporal_conv_net import TemporalConvNet
from keras_sep.layers.vector_quantizer import VectorQuantizer
from keras_sep.layers.waveform_decoder import WaveformDecoder
from keras_sep.layers.waveform_encoder import WaveformEncoder

__all__ = [
    "CausalSelfAttention",
    "CumulativeLayerNormalization",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseSeparableConv1D",
    "DepthwiseSeparableConv2D",
    "FiniteScalarQuantizer",
    "GlobalLayerNormalization",
    "InvertedResidual",
    "LogMelSpectrogram",
    "ResidualStack",
    "ResidualVectorQuantizer",
    "ScalarPReLU",
    "SqueezeExcite",
    "TemporalBlock",
    "TemporalConvNet",
    "VectorQuantizer",
    "WaveformDecoder",
    "WaveformEncoder",
]

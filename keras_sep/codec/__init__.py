"""Compression of images: a VQ-VAE's codes through its priors and a range coder."""

from keras_sep.codec.image_codec import ImageCodec, compress, decompress
from keras_sep.codec.loading import load_codec

__all__ = ["ImageCodec", "compress", "decompress", "load_codec"]

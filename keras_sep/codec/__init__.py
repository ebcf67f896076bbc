"""Compression of images: a VQ-VAE's codes through its priors and a range coder."""

from keras_sep.codec.image_codec import ImageCodec, compress, decompress

__all__ = ["ImageCodec", "compress", "decompress"]

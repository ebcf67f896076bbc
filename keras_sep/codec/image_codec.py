"""Images to few bytes and back."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from keras_sep.codec import stream_format
from keras_sep.codec.range_coding import (
    CorruptedError,
    SymbolDecoder,
    SymbolEncoder,
    frequencies,
)
from keras_sep.codec.stream_format import Header
from keras_sep.export import compile_step

Progress = Callable[[int, int], None]


class ImageCodec:
    """Compresses images as the codes of a VQ-VAE, and gives what the model reconstructs of them.

    A range coder writes each code at the probability that its level's prior gives it, after the
    codes before it and above it. So the images' bytes are as many as the priors are surprised, and
    some 60 for the header. The codes come back bit for bit where they are decoded by the same
    model, priors and backend on the same kind of machine, which a checksum tells; elsewhere
    probabilities differ in their last bits, and the stream is refused.

    One codec compiles the priors once for each size of the images and of the batch. Encoding and
    decoding take a step of the prior for each code of an image, the images of a batch together.

    Args:
        model: A `VQVAE` or `VQVAE2` of images.
        priors: A `PixelCNN` for each level, from top to bottom; each but the first may be
            conditioned on the codes of the level above it.

    Raises:
        ImportError: There is no constriction.
        ValueError: The model has no codes of images, or the priors do not go with it.
    """

    def __init__(self, model: keras.Model, priors: Sequence[keras.Model]):
        if not hasattr(model, "encode") or not hasattr(model, "level_names"):
            raise ValueError(f"model must be a VQVAE or VQVAE2, got {type(model).__name__}")
        if model.rank != 2:
            raise ValueError(f"model must be one of images, of rank 2, got rank {model.rank}")
        self.model = model
        self.priors = _check_priors(model, priors)
        self._steps = [compile_step(prior) for prior in self.priors]

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that differ if a weight or the configuration of model or priors does."""
        digest = hashlib.sha256()
        for network in (self.model, *self.priors):
            config = keras.saving.serialize_keras_object(network.get_config())
            config.pop("name", None)
            digest.update(json.dumps(config, sort_keys=True).encode())
            for weight in network.weights:
                digest.update(ops.convert_to_numpy(weight).tobytes())
        return digest.digest()[:8]

    def compress(
        self,
        images: np.ndarray,
        labels: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """Images to bytes.

        Args:
            images: Floating point `(batch, height, width, channels)` or, one image, `(height,
                width, channels)`, in the model's range, -1 to 1. Any height and width: images are
                padded with their last rows and columns to whole codes.
            labels: An integer for each image, or one for one image, if the priors are conditioned
                on classes.
            progress: Called with the rows of codes that are done, and those of all levels.

        Raises:
            ValueError: The images are not such, or labels are missing or out of range.
        """
        images = np.asarray(images)
        single = images.ndim == 3
        images = _check_images(images[None] if single else images, self.model.channels)
        if single and labels is not None:
            labels = np.reshape(labels, -1)
        labels = self._check_labels(labels, images)
        grids = self._grids(images.shape[1:3])
        padded = _pad(images, self._unit)
        codes = [
            ops.convert_to_numpy(level).astype("int32")
            for level in self.model.encode(ops.convert_to_tensor(padded))
        ]
        encoder = SymbolEncoder()

        def put(counts, level, row, column):
            symbols = np.ascontiguousarray(codes[level][:, row, column])
            encoder.put(symbols, counts)
            return symbols

        self._run(grids, len(images), labels, put, progress)
        header = Header(
            backend=keras.backend.backend(),
            fingerprint=self.fingerprint,
            num_images=len(images),
            height=images.shape[1],
            width=images.shape[2],
            single=single,
            grids=grids,
            labels=labels,
            codes_checksum=_checksum(codes),
        )
        return stream_format.pack(header, encoder.to_bytes())

    def decompress(
        self, stream: bytes, max_pixels: int = 2**24, progress: Progress | None = None
    ) -> np.ndarray:
        """The images, float32, of what `compress` gave.

        Args:
            stream: The bytes.
            max_pixels: Pixels that all images together may have, so that a forged header takes no
                more time and memory than that.
            progress: As of `compress`.

        Raises:
            ValueError: The stream is foreign, truncated, corrupted, of another model, other priors
                or another backend or kind of machine, or has more pixels.
        """
        header, payload = stream_format.unpack(stream)
        self._check_header(header, max_pixels)
        try:
            decoder = SymbolDecoder(payload)
            codes = self._run(
                header.grids,
                header.num_images,
                header.labels,
                lambda counts, *place: decoder.get(counts),
                progress,
            )
        except CorruptedError as error:
            raise _undecodable(str(error)) from None
        if _checksum(codes) != header.codes_checksum:
            raise _undecodable("its codes have another checksum")
        images = ops.convert_to_numpy(self.model.decode([ops.convert_to_tensor(c) for c in codes]))
        images = images[:, : header.height, : header.width]
        return images[0] if header.single else images

    @property
    def _unit(self):
        """Pixels to which heights and widths are padded: those of a top code."""
        return self.model.strides * 2 ** (self.model.num_levels - 1)

    def _grids(self, lengths) -> tuple[tuple[int, int], ...]:
        grids = self.model.code_shapes([-(-n // self._unit) * self._unit for n in lengths])
        if max(map(max, grids)) > stream_format.LONGEST_GRID:
            raise ValueError(
                f"images must have at most {stream_format.LONGEST_GRID} codes along an axis, got "
                f"grids of {grids}; cut them"
            )
        return tuple(tuple(grid) for grid in grids)

    def _run(self, grids, batch, labels, code, progress) -> list[np.ndarray]:
        """Goes through all codes as a prior draws them; encoder and decoder do just the same.

        Args:
            code: Maps frequencies, level, row and column to the codes there, int32 `(batch,)`.
        """
        levels, done, rows = [], 0, sum(grid[0] for grid in grids)
        for level, (prior, step) in enumerate(zip(self.priors, self._steps, strict=True)):
            conditions = {}
            if prior.num_classes is not None:
                conditions["labels"] = ops.convert_to_tensor(np.array(labels, "int32"))
            if prior.condition_num_embeddings is not None:
                conditions["condition"] = ops.convert_to_tensor(levels[-1])
            state = prior.initial_state(grids[level], batch, **conditions)
            codes = np.zeros((batch, *grids[level]), "int32")
            for position in range(math.prod(grids[level])):
                row, column = divmod(position, grids[level][1])
                place = ops.convert_to_tensor(position, "int32")
                logits, state = step(ops.convert_to_tensor(codes), place, state)
                counts = frequencies(ops.convert_to_numpy(logits))
                codes[:, row, column] = code(counts, level, row, column)
                if progress and column == grids[level][1] - 1:
                    done += 1
                    progress(done, rows)
            levels.append(codes)
        return levels

    def _check_labels(self, labels, images):
        classes = self._num_classes
        if (labels is None) != (classes is None):
            state = "no class" if classes is None else f"{classes} classes"
            given = "none" if labels is None else "some"
            raise ValueError(f"labels must go with the priors, which know {state}; got {given}")
        if labels is None:
            return None
        array = np.asarray(labels)
        if array.shape != (len(images),) or array.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be {len(images)} integers, one for each image, got {labels!r}"
            )
        if array.min() < 0 or array.max() >= classes:
            raise ValueError(f"labels must be from 0 to {classes - 1}, got {labels!r}")
        return tuple(array.tolist())

    @property
    def _num_classes(self):
        return min((p.num_classes for p in self.priors if p.num_classes is not None), default=None)

    def _check_header(self, header, max_pixels):
        backend = keras.backend.backend()
        if header.backend != backend:
            raise ValueError(
                f"stream was made with {header.backend}, this is {backend}; probabilities differ "
                f"in their last bits, so decompress it with KERAS_BACKEND={header.backend}"
            )
        if header.fingerprint != self.fingerprint:
            raise ValueError(
                f"stream was made with another model or other priors, of fingerprint "
                f"{header.fingerprint.hex()}; these have {self.fingerprint.hex()}"
            )
        pixels = header.num_images * header.height * header.width
        if not 0 < pixels <= max_pixels:
            raise ValueError(
                f"stream says that its images have {pixels} pixels, max_pixels is {max_pixels}; "
                "give more if you trust its source"
            )
        known = self._num_classes
        labels_fit = (header.labels is None) == (known is None) and (
            known is None or max(header.labels) < known
        )
        if header.grids != self._grids((header.height, header.width)) or not labels_fit:
            raise ValueError(
                f"stream is corrupted, its grids of codes, {header.grids}, or its labels do not go "
                "with its model; get it again from its source"
            )


def compress(
    images: np.ndarray,
    model: keras.Model,
    priors: Sequence[keras.Model],
    labels: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Images to bytes by a VQ-VAE and its priors: `ImageCodec(model, priors).compress(images)`."""
    return ImageCodec(model, priors).compress(images, labels, progress)


def decompress(
    stream: bytes,
    model: keras.Model,
    priors: Sequence[keras.Model],
    max_pixels: int = 2**24,
    progress: Progress | None = None,
) -> np.ndarray:
    """The images of `compress`, float32: `ImageCodec(model, priors).decompress(stream)`."""
    return ImageCodec(model, priors).decompress(stream, max_pixels, progress)


def _check_priors(model, priors):
    if not isinstance(priors, Sequence) or len(priors) != model.num_levels:
        given = f"{len(priors)}" if isinstance(priors, Sequence) else type(priors).__name__
        raise ValueError(
            f"priors must be a list of {model.num_levels}, one for each level from top to bottom, "
            f"got {given}"
        )
    for name, prior in zip(model.level_names, priors, strict=True):
        if not hasattr(prior, "step") or not hasattr(prior, "initial_state"):
            raise ValueError(f"priors must be PixelCNNs, got a {type(prior).__name__} for {name}")
        if prior.num_embeddings != model.num_embeddings:
            raise ValueError(
                f"priors must know the model's {model.num_embeddings} codes, the one for {name} "
                f"knows {prior.num_embeddings}"
            )
        coarser = prior.condition_num_embeddings
        if coarser is not None and (prior is priors[0] or coarser != model.num_embeddings):
            raise ValueError(
                f"priors must be conditioned on the {model.num_embeddings} codes of the level "
                f"above or on none, the one for {name} is on {coarser}"
            )
    return list(priors)


def _check_images(images, channels):
    if images.ndim != 4 or images.shape[-1] != channels or 0 in images.shape:
        raise ValueError(
            f"images must be of shape (batch, height, width, {channels}) or (height, width, "
            f"{channels}), got {images.shape}"
        )
    if images.dtype.kind != "f":
        raise ValueError(
            f"images must be floating point in -1 to 1, got {images.dtype}; uint8 are by "
            "pixels / 127.5 - 1"
        )
    if not np.isfinite(images).all():
        raise ValueError("images must be finite, got NaN or infinity")
    return images.astype("float32")


def _pad(images, unit):
    height, width = images.shape[1:3]
    return np.pad(images, ((0, 0), (0, -height % unit), (0, -width % unit), (0, 0)), "edge")


def _checksum(codes):
    checksum = 0
    for grid in codes:
        checksum = zlib.crc32(grid.astype("<i4").tobytes(), checksum)
    return checksum


def _undecodable(reason):
    return ValueError(
        f"stream cannot be decoded here, {reason}; it was forged, or made on another kind of "
        "machine or with other versions of the backend or of keras_sep, whose probabilities "
        "differ in their last bits: decompress it where it was made"
    )

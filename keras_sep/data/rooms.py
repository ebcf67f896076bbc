"""Impulse responses of rooms, simulated by the image-source method."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_sep.data.arguments import check_range

# Rooms in a bank: simulated in seconds where they are damped, in a minute where they are not.
_NUM_ROOMS = 500
# Lowest and highest length, width and height, in metres.
_DIMENSIONS = ((3.0, 3.0, 2.4), (10.0, 10.0, 4.0))
# Of the microphone and of mouths, in metres.
_HEIGHTS = (1.0, 1.8)
_FROM_WALLS = 0.5
_FROM_MICROPHONE = (0.5, 3.0)
# The number of images, and so the time and memory that a room takes, grows with its cube.
_LONGEST_REVERBERATION = 1.0
# Images that have lost more than this to the walls are left out, in dB.
_MAX_LOSS = 40.0
_SPEED_OF_SOUND = 343.0


class Rooms:
    """A bank of 500 random rooms, each with a microphone and speakers at positions of their own.

    A room is 3 to 10 m long and wide and 2.4 to 4 m high; its RT60 is uniform within
    `reverberation_range`. Microphone and speakers are 1 to 1.8 m above the floor and at least half
    a metre from the walls, the speakers 0.5 to 3 m from the microphone. A room is simulated when
    it is first drawn, and kept.

    Args:
        reverberation_range: Lowest and highest RT60 in seconds, above 0 and up to 1.
        num_speakers: Speakers in a room.
        sample_rate: In Hz.
        seed: Of the rooms, an integer of at least 0.

    Raises:
        ImportError: pyroomacoustics is not installed.
        ValueError: `reverberation_range` is out of range.
    """

    def __init__(
        self,
        reverberation_range: tuple[float, float],
        num_speakers: int,
        sample_rate: int,
        seed: int,
    ):
        self.reverberation_range = check_range(
            "reverberation_range", reverberation_range, 0.0, _LONGEST_REVERBERATION
        )
        self.num_speakers = num_speakers
        self.sample_rate = sample_rate
        self.seed = seed
        self._responses: dict[int, list[np.ndarray]] = {}
        _pyroomacoustics()

    def draw(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The responses of a random room, one for each speaker, as `simulate` returns them."""
        room = int(rng.integers(_NUM_ROOMS))
        if room not in self._responses:
            self._responses[room] = self._simulate(room)
        return self._responses[room]

    def _simulate(self, room):
        # A stream of its own: [seed, room] alone would be that of epoch `room`.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, room], spawn_key=(0,)))
        dimensions = rng.uniform(*_DIMENSIONS)
        low = np.array([_FROM_WALLS, _FROM_WALLS, _HEIGHTS[0]])
        high = np.array([*(dimensions[:2] - _FROM_WALLS), _HEIGHTS[1]])
        microphone = rng.uniform(low, high)
        speakers = []
        while len(speakers) < self.num_speakers:
            speaker = rng.uniform(low, high)
            if _FROM_MICROPHONE[0] <= math.dist(speaker, microphone) <= _FROM_MICROPHONE[1]:
                speakers.append(speaker)
        reverberation_time = rng.uniform(*self.reverberation_range)
        return simulate(dimensions, microphone, speakers, reverberation_time, self.sample_rate)


def simulate(
    dimensions: Sequence[float],
    microphone: Sequence[float],
    speakers: Sequence[Sequence[float]],
    reverberation_time: float,
    sample_rate: int,
) -> list[np.ndarray]:
    """Simulates a shoebox room whose six walls absorb alike, at all frequencies.

    Args:
        dimensions: Length, width and height in metres.
        microphone: Its position in metres, from a corner.
        speakers: Their positions.
        reverberation_time: RT60 in seconds. Small rooms that are very damped have too few echoes
            to meet it exactly.
        sample_rate: In Hz.

    Returns:
        For each speaker the impulse response, float32 `(taps,)`, without the time that the direct
        sound takes: to the nearest sample that arrives at `direct_sample()`.

    Source: Allen & Berkley 1979, "Image method for efficiently simulating small-room acoustics".
    """
    pyroomacoustics = _pyroomacoustics()
    energy = reflected_energy(dimensions, reverberation_time)
    room = pyroomacoustics.ShoeBox(
        dimensions,
        fs=sample_rate,
        materials=pyroomacoustics.Material(1.0 - energy),
        max_order=math.ceil(_MAX_LOSS / (-10.0 * math.log10(energy))),
    )
    room.add_microphone(microphone)
    for speaker in speakers:
        room.add_source(speaker)
    room.compute_rir()
    arrivals = [math.dist(speaker, microphone) / room.c for speaker in speakers]
    return [
        response[round(arrival * sample_rate) :].astype("float32")
        for response, arrival in zip(room.rir[0], arrivals, strict=True)
    ]


def direct_sample() -> int:
    """Where the direct sound is in a response of `simulate`."""
    return _pyroomacoustics().constants.get("frac_delay_length") // 2


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """What the microphone hears of a speaker, from the direct sound's arrival on.

    Args:
        waveform: float32 `(samples,)`.
        response: float32 `(taps,)`, of `simulate`.

    Returns:
        float32 `(samples,)`; the reverberation after the waveform's end is cut off.
    """
    from scipy.signal import fftconvolve

    start = direct_sample()
    return fftconvolve(waveform, response)[start : start + len(waveform)]


def reflected_energy(dimensions: Sequence[float], reverberation_time: float) -> float:
    """Share of the energy that walls must reflect for an RT60 in seconds, between 0 and 1.

    The image that is heard after t seconds from the direction (x, y, z) is c·t metres away, behind
    c·t·(|x|/length + |y|/width + |z|/height) walls. The mean over all directions of what so many
    walls leave of the energy is the decay of the room. Its RT60 is, as in ISO 3382-1, twice the
    time in which what remains of the energy falls from -5 to -35 dB. Formulas of diffuse sound
    fields, Sabine's and Eyring's, are up to a half off for the image-source method.

    Source: Lehmann & Johansson 2008, "Prediction of energy decay in room impulse responses
    simulated with an image-source model".
    """
    # Directions spread evenly over an eighth of the sphere; the others mirror them.
    z, azimuth = np.meshgrid(*[(np.arange(32) + 0.5) / 32] * 2)
    x, y = (np.sqrt(1 - z**2) * f(azimuth * np.pi / 2) for f in (np.cos, np.sin))
    walls = np.ravel(x / dimensions[0] + y / dimensions[1] + z / dimensions[2])  # per metre
    # Paths are in metres, times the nepers of energy that a wall takes.
    paths = np.linspace(0.0, 40.0 / walls.mean(), 400)
    remaining = np.mean(np.exp(-np.outer(paths, walls)) / walls, axis=1)
    start, end = np.interp([5.0, 35.0], -10.0 * np.log10(remaining / remaining[0]), paths)
    return math.exp(-2.0 * (end - start) / (_SPEED_OF_SOUND * reverberation_time))


def _pyroomacoustics():
    try:
        import pyroomacoustics
    except ImportError as error:
        raise ImportError(
            "`reverberation_range` needs pyroomacoustics: pip install 'keras-sep[rooms]'"
        ) from error
    return pyroomacoustics

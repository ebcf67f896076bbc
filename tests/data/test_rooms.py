"""Simulated rooms: decay, arrival and strength of sounds against closed forms."""

import sys

import numpy as np
import pytest
from synthetic_voices import RATE, mixtures, noise, write

from keras_sep.data.rooms import Rooms, direct_sample, reflected_energy, reverberate, simulate

ROOM = (6.0, 5.0, 3.0)
MICROPHONE = np.array([2.0, 2.2, 1.3])
METRES = 343.0 / RATE  # a sample


def reverberation_time(response):
    """Schroeder's backward integration, -5 to -25 dB, times three (T20 of ISO 3382-1), in s."""
    energy = np.cumsum(response[::-1].astype("float64") ** 2)[::-1]
    decay = 10 * np.log10(energy / energy[0])
    start, end = np.argmax(decay < -5), np.argmax(decay < -25)
    slope, _ = np.polyfit(np.arange(start, end) / RATE, decay[start:end], 1)
    return -60 / slope


@pytest.mark.parametrize("asked", [0.15, 0.3, 0.6])
def test_sound_decays_in_the_time_asked_for(asked):
    rooms = Rooms((asked, asked), num_speakers=2, sample_rate=RATE, seed=0)
    rng = np.random.default_rng(0)
    measured = [reverberation_time(h) for _ in range(6) for h in rooms.draw(rng)]
    assert np.mean(measured) == pytest.approx(asked, rel=0.1)
    assert np.abs(np.array(measured) / asked - 1).max() < 0.35


def test_walls_of_a_cube_reflect_as_formulas_of_diffuse_sound_say():
    """Few reflections are needed where little is absorbed: there Sabine's formula is the limit."""
    volume, surface = 5.0**3, 6 * 5.0**2
    sabine = 24 * np.log(10) * volume / (343 * surface * 4.0)
    assert 1 - reflected_energy((5.0, 5.0, 5.0), 4.0) == pytest.approx(sabine, rel=0.1)


def mirrored(position):
    """The images of a position behind the six walls."""
    for axis in range(3):
        for wall in (0.0, ROOM[axis]):
            image = position.copy()
            image[axis] = 2 * wall - position[axis]
            yield image


def test_direct_sound_and_first_reflections():
    """Arrival and strength by geometry, up to the first sound that two walls reflect."""
    speaker = MICROPHONE + np.array([40.3 * METRES, 0, 0])
    (response,) = simulate(ROOM, MICROPHONE, [speaker], 0.3, RATE)
    assert response.dtype == np.float32
    assert abs(response).argmax() == direct_sample()

    once = list(mirrored(speaker))
    twice = [image for other in once for image in mirrored(other)]
    samples = np.linalg.norm([speaker, *once, *twice] - MICROPHONE, axis=1) / METRES
    arrivals = samples - 40 + direct_sample()
    heard = np.arange(int(arrivals[7:][samples[7:] > 41].min()) - 10)
    expected = np.zeros(len(heard))
    for index, arrival in enumerate(arrivals[:7]):
        late = heard - arrival
        window = np.where(abs(late) < 40, (1 + np.cos(np.pi * late / 40)) / 2, 0)
        strength = 1.0 if index == 0 else np.sqrt(reflected_energy(ROOM, 0.3))
        expected += strength / (samples[index] * METRES) * np.sinc(late) * window
    assert sum(arrivals[:7] < len(heard)) >= 4
    # Differences, as pyroomacoustics takes out what is below 10 Hz.
    error = np.diff(response[: len(heard)]) - np.diff(expected)
    assert np.abs(error).max() < 0.01 * expected.max()


def test_sound_falls_with_the_distance():
    near, far = (MICROPHONE + np.array([0, samples * METRES, 0]) for samples in (20, 40))
    responses = simulate(ROOM, MICROPHONE, [near, far], 0.2, RATE)
    peaks = [response[direct_sample()] for response in responses]
    assert peaks[0] / peaks[1] == pytest.approx(2.0, rel=0.05)


def test_reverberation_is_a_convolution_from_the_direct_sound_on():
    waveform = noise(0.2, 0)
    (response,) = simulate(ROOM, MICROPHONE, [MICROPHONE + 1.0], 0.2, RATE)
    heard = reverberate(waveform, response)
    assert heard.dtype == np.float32
    whole = np.convolve(waveform, response)
    np.testing.assert_allclose(heard, whole[direct_sample() :][: len(waveform)], atol=1e-5)
    assert np.corrcoef(heard, waveform)[0, 1] > 0.3, "aligned with the dry sound"


def test_banks_of_a_seed_are_equal():
    def draw(seed):
        rooms = Rooms((0.1, 0.3), num_speakers=3, sample_rate=RATE, seed=seed)
        rng = np.random.default_rng(0)
        return [rooms.draw(rng) for _ in range(3)]

    first, again, other = draw(1), draw(1), draw(2)
    for one, two, three in zip(first, again, other, strict=True):
        assert len(one) == 3
        for a, b, c in zip(one, two, three, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.tobytes() != c.tobytes()
    assert len({response.tobytes() for room in first for response in room}) == 9


def test_a_room_is_simulated_once(monkeypatch):
    from keras_sep.data import rooms as module

    calls = []
    monkeypatch.setattr(module, "simulate", lambda *args: calls.append(args) or [len(calls)])
    monkeypatch.setattr(module, "_NUM_ROOMS", 5)
    rooms = Rooms((0.1, 0.5), num_speakers=4, sample_rate=RATE, seed=0)
    rng = np.random.default_rng(0)
    assert len({tuple(rooms.draw(rng)) for _ in range(100)}) == len(calls) == 5
    for dimensions, microphone, speakers, seconds, rate in calls:
        assert np.all((dimensions >= (3, 3, 2.4)) & (dimensions <= (10, 10, 4)))
        assert 0.1 <= seconds <= 0.5
        assert (len(speakers), rate) == (4, RATE)
        for position in (microphone, *speakers):
            assert np.all((position >= (0.5, 0.5, 1.0)) & (position <= dimensions - 0.5))
        distances = np.linalg.norm(np.array(speakers) - microphone, axis=1)
        assert np.all((distances >= 0.5) & (distances <= 3.0))


def test_mixtures_in_rooms(tmp_path):
    """A click of each speaker: its source is the response of the speaker's place, to a scale."""
    for speaker in "ab":
        click = np.zeros(RATE)
        click[100] = 0.9
        write(tmp_path / speaker / "click.wav", click)
    arguments = {"segment_seconds": 1.0, "reverberation_range": (0.2, 0.3)}
    mixture, sources = mixtures(tmp_path, **arguments)[1]
    np.testing.assert_allclose(mixture, sources.sum(axis=1), atol=1e-6)
    responses = {r.tobytes(): r for r in sources.reshape(6, -1)}
    assert len(responses) == 6, "every speaker has a place of its own"
    for response in responses.values():
        assert abs(response[100:102]).max() == pytest.approx(abs(response).max(), rel=0.5)
        assert 0.1 < reverberation_time(response[100:4000]) < 0.5


def test_a_missing_package_is_named(voices, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(ImportError, match=r"^[^\n]*pip install 'keras-sep\[rooms\]'$"):
        mixtures(voices, reverberation_range=(0.1, 0.2))
    mixtures(voices)[0]

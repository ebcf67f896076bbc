"""Mixtures made on the fly, on a corpus of small synthetic voices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_voices import RATE, decibels, mixtures, noise, tone, write

from keras_sep.data import AudioError, SpeechMixtures, corpus


def test_shapes_types_and_attributes(voices, noises):
    arguments = {
        "num_sources": 3,
        "min_sources": 2,
        "segment_seconds": 0.25,
        "sample_rate": RATE,
        "batch_size": 5,
        "num_batches": 7,
        "snr_range": 4.0,
        "noise_folder": noises,
        "noise_snr_range": (3.0, 6.0),
        "noise_target": True,
        "speed_range": (0.9, 1.1),
        "reverberation_range": (0.1, 0.2),
        "resample": True,
        "fixed": True,
        "seed": 3,
        "workers": 2,
        "max_queue_size": 4,
    }
    data = SpeechMixtures(voices, **arguments)
    mixture, sources = data[6]
    assert (mixture.shape, sources.shape) == ((5, 2000), (5, 4, 2000))
    assert mixture.dtype == sources.dtype == np.float32
    assert {name: getattr(data, name) for name in arguments} == arguments
    assert data.folder == voices
    assert len(data) == len(list(data)) == 7
    assert data.speakers == pytest.approx({f"speaker{i}": 2.0 for i in range(4)})
    with pytest.raises(IndexError, match="from 0 to 6"):
        data[7]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    index=st.integers(0, 3),
    num_sources=st.integers(1, 4),
    min_sources=st.integers(1, 4),
    snr_range=st.floats(0, 20),
    speed_range=st.sampled_from([None, (0.85, 1.18), (1.37, 1.37)]),
    reverberation_range=st.sampled_from([None, (0.05, 0.1)]),
)
def test_every_batch(voices, seed, epoch, index, num_sources, min_sources, snr_range, **arguments):
    arguments |= {"num_sources": num_sources, "snr_range": snr_range}
    arguments["min_sources"] = min_sources if min_sources < num_sources else None
    first, second = (mixtures(voices, seed=seed, **arguments) for _ in range(2))
    first.epoch = second.epoch = epoch
    second[3 - index]
    mixture, sources = first[index]
    for one, other in zip((mixture, sources), second[index], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(mixture, sources.sum(axis=1), atol=1e-6)

    for example in sources:
        sounding = example[example.any(axis=-1)]
        assert (arguments["min_sources"] or num_sources) <= len(sounding) <= num_sources
        levels = [decibels(corpus.active_rms(source, RATE)) for source in sounding]
        assert np.ptp(levels) <= snr_range + 1e-3
    peaks = np.maximum(np.abs(mixture).max(-1), np.abs(sources).max((1, 2)))
    assert np.all((decibels(peaks) > -24.001) & (decibels(peaks) < -0.499))


def test_gains_fill_their_range(voices):
    data = mixtures(voices, snr_range=6.0, batch_size=200)
    ratios = np.array(
        [decibels(corpus.active_rms(a, RATE) / corpus.active_rms(b, RATE)) for a, b in data[0][1]]
    )
    assert 4 < ratios.max() <= 6.001
    assert -6.001 <= ratios.min() < -4
    # A difference of two uniform gains.
    assert ratios.std() == pytest.approx(6.0 / np.sqrt(6), rel=0.15)


def test_batches_epochs_and_seeds_differ_unless_fixed(voices):
    def all_batches(**arguments):
        data = mixtures(voices, **arguments)
        batches = []
        for epoch in range(2):
            data.epoch = epoch
            batches += [mixture.tobytes() for mixture, _ in data]
        return batches

    assert len(set(all_batches() + all_batches(seed=1))) == 16
    fixed = all_batches(fixed=True)
    assert fixed[:4] == fixed[4:]
    assert len(set(fixed)) == 4


def test_noise_is_added_to_the_mixture_only(voices, noises):
    data = mixtures(voices, noise_folder=noises, noise_snr_range=(2.0, 5.0), batch_size=100)
    mixture, sources = data[0]
    speech = sources.sum(axis=1)
    rest = mixture - speech
    snr = decibels(speech.std(axis=-1) / rest.std(axis=-1))
    assert 2.0 - 0.05 <= snr.min() < 2.5
    assert 4.5 < snr.max() <= 5.0 + 0.05
    assert np.abs(mixture).max() < 1


def test_noise_may_be_the_last_source(voices, noises):
    """The same mixtures, with the noise beside the speakers, which alone are as loud or louder."""
    arguments = {"noise_folder": noises, "noise_snr_range": (2.0, 5.0), "num_sources": 1}
    plain, speech = mixtures(voices, **arguments)[0]
    mixture, sources = mixtures(voices, noise_target=True, **arguments)[0]
    assert sources.shape == (3, 2, 4000)
    np.testing.assert_allclose(mixture, sources.sum(axis=1), atol=1e-6)
    snr = decibels(sources[:, 0].std(axis=-1) / sources[:, 1].std(axis=-1))
    assert np.all((snr > 2.0 - 0.05) & (snr < 5.0 + 0.05))
    # The common scale differs where the noise has the highest peak.
    scale = np.abs(mixture).max(-1, keepdims=True) / np.abs(plain).max(-1, keepdims=True)
    np.testing.assert_allclose(mixture, plain * scale, atol=1e-6)
    np.testing.assert_allclose(sources[:, :1], speech * scale[:, None], atol=1e-6)


def test_numbers_of_speakers_vary(voices):
    _, sources = mixtures(voices, num_sources=4, min_sources=2, batch_size=300)[0]
    sounds = sources.any(axis=-1)
    assert np.all(sounds[:, :-1] >= sounds[:, 1:]), "silent sources are last"
    numbers = np.bincount(sounds.sum(axis=1), minlength=5)
    assert numbers[:2].sum() == 0
    np.testing.assert_allclose(numbers[2:], 100, atol=30)


def test_speakers_of_a_mixture_differ_and_long_ones_do_not_drown_others(tmp_path):
    # Recognized by their frequency: 100 s of one voice, 1 s of each other one.
    frequencies = [500, 1000, 1500]
    for frequency, seconds in zip(frequencies, [100, 1, 1], strict=True):
        write(tmp_path / str(frequency) / "a.wav", tone(seconds, frequency))
    _, sources = mixtures(tmp_path, batch_size=400)[0]
    spectrum = np.abs(np.fft.rfft(sources))
    heard = np.fft.rfftfreq(4000, 1 / RATE)[spectrum.argmax(-1)]
    assert np.all(heard[:, 0] != heard[:, 1])
    # Square roots of the durations: 10 to 1 to 1.
    assert np.mean(heard[:, 0] == 500) == pytest.approx(10 / 12, abs=0.06)
    assert np.mean(heard[:, 0] == 1000) == pytest.approx(1 / 12, abs=0.04)


def test_sources_are_never_silent(tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "a.wav", np.concatenate([np.zeros(20 * RATE), noise(2, 0)]))
        write(tmp_path / speaker / "b.wav", np.zeros(RATE))
    for _, sources in mixtures(tmp_path):
        assert sources.std(axis=-1).min() > 1e-3


def test_a_speaker_without_sound_is_an_error(tmp_path):
    write(tmp_path / "a" / "a.wav", noise(1, 0))
    write(tmp_path / "b" / "a.wav", np.zeros(RATE))
    with pytest.raises(AudioError, match=r"b: 100 random segments were silent"):
        mixtures(tmp_path)[0]


@pytest.mark.parametrize("speed", [0.85, 1.18, 1.37])
def test_speed_moves_the_pitch(tmp_path, speed):
    write(tmp_path / "a" / "a.wav", tone(10, 1000))
    data = mixtures(tmp_path, num_sources=1, segment_seconds=1.0, speed_range=(speed, speed))
    _, sources = data[0]
    peaks = np.abs(np.fft.rfft(sources * np.hanning(RATE))).argmax(-1)
    np.testing.assert_allclose(peaks, 1000 * speed, atol=1)


def test_speed_is_drawn_for_each_source(tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "a.wav", tone(10, 1000))
    data = mixtures(tmp_path, segment_seconds=1.0, speed_range=(0.85, 1.18), batch_size=50)
    peaks = np.abs(np.fft.rfft(data[0][1] * np.hanning(RATE))).argmax(-1)
    assert 849 <= peaks.min() < 870
    assert 1150 < peaks.max() <= 1181
    assert np.mean(peaks[:, 0] == peaks[:, 1]) < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 0}, "`num_sources` must be an integer >= 1, got 0"),
        ({"min_sources": 0}, "`min_sources` must be an integer from 1 to 2, got 0"),
        ({"min_sources": 3}, "`min_sources` must be an integer from 1 to 2, got 3"),
        ({"noise_target": True}, "`noise_target` needs a `noise_folder`"),
        (
            {"reverberation_range": (0.0, 0.5)},
            r"`reverberation_range` must be \(low, high\) above 0 and up to 1 with",
        ),
        ({"reverberation_range": (0.5, 1.5)}, r"`reverberation_range` .* got \(0.5, 1.5\)"),
        ({"num_sources": 5}, "`folder` must hold at least num_sources=5 .* has 4 usable"),
        ({"segment_seconds": 0.0}, "`segment_seconds` must give at least one sample, got 0.0"),
        ({"segment_seconds": float("nan")}, "`segment_seconds`"),
        ({"sample_rate": 8000.0}, "`sample_rate` must be an integer >= 1, got 8000.0"),
        ({"batch_size": -1}, "`batch_size`"),
        ({"num_batches": True}, "`num_batches`"),
        ({"snr_range": -1.0}, "`snr_range` must be a number of dB >= 0, got -1.0"),
        ({"snr_range": (-5, 5)}, "`snr_range`"),
        ({"noise_snr_range": 5.0}, r"`noise_snr_range` must be \(low, high\).*got 5.0"),
        ({"noise_snr_range": (5.0, 1.0)}, "`noise_snr_range`"),
        ({"speed_range": (0.0, 1.0)}, r"`speed_range` must be \(low, high\) above 0"),
        ({"speed_range": (1.2, 0.8)}, "`speed_range`"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"validation_split": 1.0}, "`validation_split` must be at least 0 and below 1, got 1.0"),
        ({"validation_split": 0.1}, "`subset` must be .* got subset=None, validation_split=0.1"),
        ({"subset": "training"}, "`subset` must be .* got subset='training'"),
        ({"noise_folder": "/nowhere"}, "`noise_folder` must be an existing folder"),
        ({"folder": "/nowhere"}, "`folder` must be an existing folder, got '/nowhere'"),
        ({"folder": None}, "`folder` must be a path, got None"),
        ({"folder": __file__}, "`folder` must be an existing folder"),
    ],
)
def test_wrong_arguments_are_named(voices, arguments, message):
    with pytest.raises(ValueError, match=message):
        mixtures(**({"folder": voices} | arguments))

"""Mixtures made on the fly, on a corpus of small synthetic voices."""

import os
import warnings

import keras
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sep.data import AudioError, SpeechMixtures, audio, corpus

RATE = 8000


def noise(seconds, seed, rate=RATE):
    waveform = 0.1 * np.random.default_rng(seed).normal(size=int(seconds * rate))
    return waveform.astype("float32")


def tone(seconds, frequency, rate=RATE):
    return 0.1 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return path


def mixtures(folder, **arguments):
    defaults = {"segment_seconds": 0.5, "batch_size": 3, "num_batches": 4}
    return SpeechMixtures(folder, **(defaults | arguments))


def decibels(ratio):
    return 20 * np.log10(ratio)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Four speakers, one in each format, files longer and shorter than the segments, one nested."""
    folder = tmp_path_factory.mktemp("voices")
    for speaker, suffix in enumerate(["wav", "flac", "ogg", "mp3"]):
        for i, seconds in enumerate([0.2, 0.3, 1.5]):
            name = f"{'session/' * (i % 2)}{i}.{suffix}"
            write(folder / f"speaker{speaker}" / name, noise(seconds, 10 * speaker + i))
    return folder


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noises")
    write(folder / "a.wav", noise(0.2, 100))
    write(folder / "street" / "b.flac", noise(3, 101))
    return folder


def test_shapes_types_and_attributes(voices, noises):
    arguments = {
        "num_sources": 3,
        "segment_seconds": 0.25,
        "sample_rate": RATE,
        "batch_size": 5,
        "num_batches": 7,
        "snr_range": 4.0,
        "noise_folder": noises,
        "noise_snr_range": (3.0, 6.0),
        "speed_range": (0.9, 1.1),
        "resample": True,
        "fixed": True,
        "seed": 3,
        "workers": 2,
        "max_queue_size": 4,
    }
    data = SpeechMixtures(voices, **arguments)
    mixture, sources = data[6]
    assert (mixture.shape, sources.shape) == ((5, 2000), (5, 3, 2000))
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
    snr_range=st.floats(0, 20),
    speed_range=st.sampled_from([None, (0.85, 1.18), (1.37, 1.37)]),
)
def test_every_batch(voices, seed, epoch, index, num_sources, snr_range, speed_range):
    arguments = {"num_sources": num_sources, "snr_range": snr_range, "speed_range": speed_range}
    first, second = (mixtures(voices, seed=seed, **arguments) for _ in range(2))
    first.epoch = second.epoch = epoch
    second[3 - index]
    mixture, sources = first[index]
    for one, other in zip((mixture, sources), second[index], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(mixture, sources.sum(axis=1), atol=1e-6)

    levels = [[decibels(corpus.active_rms(s, RATE)) for s in example] for example in sources]
    assert np.ptp(levels, axis=1).max() <= snr_range + 1e-3
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


def test_reads_segments_of_long_files_by_seeking(tmp_path, monkeypatch):
    for speaker in "ab":
        for suffix in ("wav", "flac"):
            write(tmp_path / speaker / f"a.{suffix}", noise(120, 0))
    data = mixtures(tmp_path, batch_size=16)
    starts, counts = [], []

    def spy(path, start, frames):
        segment = read_segment(path, start, frames)
        starts.append(start)
        return segment

    def count(file, *args, **kwargs):
        samples = read(file, *args, **kwargs)
        counts.append(len(samples))
        return samples

    read_segment, read = audio.read_segment, soundfile.SoundFile.read
    monkeypatch.setattr(audio, "read_segment", spy)
    monkeypatch.setattr(soundfile.SoundFile, "read", count)
    data[0]
    assert counts == [4000] * 32
    assert min(starts) < 20 * RATE
    assert max(starts) > 100 * RATE


def test_short_utterances_fill_a_segment_densely(tmp_path):
    for speaker in "ab":
        for i in range(5):
            write(tmp_path / speaker / f"{i}.wav", noise(0.5, i))
    _, sources = mixtures(tmp_path, segment_seconds=4.0, batch_size=20)[0]
    silent = sources == 0
    # Pauses of 0 to 0.3 s after every 0.5 s.
    assert 0.1 < silent.mean() < 0.35
    # Sources do not all set in with a file's beginning.
    beginnings = sources[:, :, 0] / np.abs(sources).max(-1)
    assert len(np.unique(beginnings.round(4))) > 30


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


def test_channels_are_averaged(tmp_path):
    left, right = noise(1, 0), noise(1, 1)
    write(tmp_path / "a" / "a.wav", np.stack([left, right], axis=1))
    data = mixtures(tmp_path, num_sources=1, segment_seconds=1.0)
    source = data[0][1][0, 0]
    assert np.corrcoef(source, (left + right) / 2)[0, 1] > 0.999


def test_unusable_files_are_named_in_one_warning(voices, tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    write(tmp_path / "a" / "fast.wav", noise(1, 0, 16000), 16000)
    write(tmp_path / "a" / "none.wav", np.zeros(0))
    write(tmp_path / "stray.wav", noise(1, 0))
    (tmp_path / "b" / "empty.ogg").touch()
    (tmp_path / "b" / "text.FLAC").write_text("no audio")
    (tmp_path / "b" / ".hidden.wav").write_text("no audio")
    (tmp_path / "b" / "notes.txt").write_text("no audio")
    with pytest.warns(UserWarning, match="Skipped") as caught:
        data = mixtures(tmp_path)
    (warning,) = caught
    lines = str(warning.message).splitlines()
    assert lines[0] == "Skipped 5 audio files:"
    for name in ("fast.wav has 16000 Hz", "none.wav", "stray.wav", "empty.ogg", "text.FLAC"):
        assert sum(name in line for line in lines[1:]) == 1
    assert warning.filename == __file__
    data[0]


def test_the_warning_names_ten_files(tmp_path):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    for i in range(23):
        (tmp_path / "a" / f"bad{i}.wav").touch()
    with pytest.warns(UserWarning, match=r"(?s)^Skipped 23 .*\n  and 13 more$") as caught:
        mixtures(tmp_path)
    assert str(caught[0].message).count("bad") == 10


@pytest.mark.parametrize("rate", [16000, 44100, 4000])
def test_other_rates_are_resampled_when_asked(tmp_path, rate):
    write(tmp_path / "a" / "long.wav", tone(10, 1000, rate), rate)
    write(tmp_path / "b" / "short.wav", tone(0.6, 1500, rate), rate)
    with pytest.raises(ValueError, match=rf"(?s)2 folders.*has 0 usable.*{rate} Hz"):
        mixtures(tmp_path)
    data = mixtures(tmp_path, resample=True)
    assert data.speakers == pytest.approx({"a": 10.0, "b": 0.6})
    for _, sources in data:
        peaks = np.abs(np.fft.rfft(sources)).argmax(-1)
        assert {int(p) for p in peaks.ravel()} <= {499, 500, 501, 749, 750, 751}


@pytest.mark.parametrize("damage", ["cut", "nan"])
def test_files_found_damaged_while_mixing_are_named_once(tmp_path, damage):
    for speaker in "ab":
        write(tmp_path / speaker / "good.wav", noise(1, 0))
    bad = tmp_path / "a" / "bad.flac"
    if damage == "cut":
        write(bad, noise(10, 0))
        bad.write_bytes(bad.read_bytes()[:5000])
    else:
        bad = bad.with_suffix(".wav")
        soundfile.write(bad, np.full(10 * RATE, np.nan, "float32"), RATE, "FLOAT")
    data = mixtures(tmp_path)
    with pytest.warns(UserWarning, match=bad.name) as caught:
        batches = list(data)
    assert len(caught) == 1
    assert np.isfinite([mixture for mixture, _ in batches]).all()


def test_a_split_shares_the_files_out(tmp_path):
    names = [f"{speaker}/{take}.wav" for speaker in "ab" for take in range(60)]
    for index, name in enumerate(names):
        write(tmp_path / name, noise(0.3 + index / 1000, index))

    def seconds(**arguments):
        return mixtures(tmp_path, **arguments).speakers

    parts = [seconds(validation_split=0.3, subset=subset) for subset in ("training", "validation")]
    for speaker, total in seconds().items():
        assert parts[0][speaker] + parts[1][speaker] == pytest.approx(total)
        assert 0.15 < parts[1][speaker] / total < 0.45
    write(tmp_path / "c" / "1.wav", noise(0.3, 0))
    again = seconds(validation_split=0.3, subset="validation")
    assert {name: again[name] for name in "ab"} == parts[1]


def test_links_to_speakers_are_followed(voices, tmp_path):
    for speaker in ("speaker0", "speaker1"):
        os.symlink(voices / speaker, tmp_path / speaker)
    assert set(mixtures(tmp_path).speakers) == {"speaker0", "speaker1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 0}, "`num_sources` must be an integer >= 1, got 0"),
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


def test_folders_without_audio_are_an_error(voices, tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(ValueError, match="`folder` must hold at least num_sources=2"):
        mixtures(tmp_path)
    with pytest.raises(ValueError, match="`noise_folder` must hold audio files"):
        mixtures(voices, noise_folder=tmp_path)


def test_splits_are_no_speakers(tmp_path):
    for split in ("train", "valid"):
        for speaker in "ab":
            write(tmp_path / split / speaker / "1.wav", noise(1, 0))
    assert set(mixtures(tmp_path / "train").speakers) == {"a", "b"}
    with pytest.raises(ValueError, match="holds splits of a corpus, train, valid: give one"):
        mixtures(tmp_path)


def test_files_beside_the_speakers_are_no_speakers(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.wav", noise(1, 0))
    with pytest.raises(ValueError, match=r"(?s)has 0 usable.*a\.wav is not in a speaker's folder"):
        mixtures(tmp_path)


def frozen_model():
    """Learns nothing (rate 0), so that an epoch's loss tells which mixtures it saw."""
    mixture = keras.Input((None,))
    features = keras.layers.Reshape((-1, 1))(mixture)
    features = keras.layers.Conv1D(2, 9, padding="same", kernel_initializer="ones")(features)
    model = keras.Model(mixture, keras.layers.Permute((2, 1))(features))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def follow(data):
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(data, "epoch", epoch)
    )


def test_fit_resumes_with_the_mixtures_of_its_epoch(voices):
    arguments = {"num_batches": 30, "batch_size": 1, "segment_seconds": 0.1}
    data = mixtures(voices, **arguments)
    validation = mixtures(voices, fixed=True, **arguments)
    history = frozen_model().fit(data, validation_data=validation, epochs=3, verbose=0).history
    assert len(set(history["loss"])) == 3
    np.testing.assert_allclose(history["val_loss"], history["val_loss"][0], rtol=1e-6)
    assert data.epoch == 3

    resumed = mixtures(voices, **arguments)
    resumed.epoch = 2
    again = frozen_model().fit(resumed, initial_epoch=2, epochs=3, verbose=0).history
    np.testing.assert_allclose(again["loss"], history["loss"][2:], rtol=1e-5)


def test_fit_resumes_with_backup_and_restore(voices, tmp_path):
    data = mixtures(voices)
    losses = frozen_model().fit(data, epochs=3, callbacks=follow(data), verbose=0).history["loss"]

    def backed_up(epochs):
        data = mixtures(voices)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        callbacks = [backup, follow(data)]
        return frozen_model().fit(data, epochs=epochs, callbacks=callbacks, verbose=0).history

    np.testing.assert_allclose(backed_up(2)["loss"], losses[:2], rtol=1e-5)
    np.testing.assert_allclose(backed_up(3)["loss"], losses[2:], rtol=1e-5)


def test_fit_with_several_workers(voices):
    data = mixtures(voices, workers=2, num_batches=20)
    history = frozen_model().fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    # Batches that Keras prefetched and kept may make it count one more.
    assert data.epoch >= 2


def test_constructor_warns_of_nothing_on_a_clean_corpus(voices, noises):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixtures(voices, noise_folder=noises)

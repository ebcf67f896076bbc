"""Reading by seeking, clear errors, resampling."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from keras_sep.data import AudioError, audio


def write(path, waveform, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    # In blocks: libsndfile's Vorbis encoder overflows the stack on one long block.
    with soundfile.SoundFile(path, "w", rate, 1 if waveform.ndim == 1 else waveform.shape[1]) as f:
        for start in range(0, len(waveform), 4000):
            f.write(waveform[start : start + 4000])
    return path


def noise(frames, channels=1, seed=0):
    waveform = 0.1 * np.random.default_rng(seed).normal(size=(frames, channels))
    return waveform.astype("float32")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    # Half silence, half noise: MP3 saves up bits in the silence.
    waveform = noise(40000, 2) * (np.arange(40000)[:, None] // 4000 % 2)
    return {
        suffix: write(folder / f"a.{suffix}", waveform) for suffix in ("wav", "flac", "ogg", "mp3")
    }


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@given(start=st.integers(0, 39999), frames=st.integers(0, 50000))
def test_segment_equals_the_slice_of_the_whole(files, suffix, start, frames):
    whole, _ = soundfile.read(files[suffix], dtype="float32")
    segment = audio.read_segment(files[suffix], start, frames)
    assert segment.dtype == np.float32
    np.testing.assert_allclose(segment, whole[start : start + frames], atol=1e-6)


def test_inspect_reads_the_header(files):
    info = audio.inspect(files["flac"])
    assert (info.sample_rate, info.frames, info.channels, info.seconds) == (8000, 40000, 2, 5.0)
    assert info.path == str(files["flac"])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_sample_formats_and_eight_channels(tmp_path, subtype):
    waveform = noise(500, 8)
    soundfile.write(tmp_path / "a.wav", waveform, 96000, subtype)
    np.testing.assert_allclose(
        audio.read_segment(tmp_path / "a.wav", 100, 50), waveform[100:150], atol=1e-4
    )


@given(start=st.integers(0, 39999), frames=st.integers(0, 50000))
def test_segment_of_an_ogg_has_its_length(files, start, frames):
    # The place is only near `start`: libsndfile's issue 885.
    segment = audio.read_segment(files["ogg"], start, frames)
    assert segment.shape == (min(frames, 40000 - start), 2)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("size", [1000, 7777])
def test_blocks_follow_each_other_without_a_glitch(files, suffix, size):
    whole, _ = soundfile.read(files[suffix], dtype="float32")
    with audio.open_audio(files[suffix]) as file:
        blocks = []
        while len(block := audio.read_frames(file, size)):
            blocks.append(block)
        assert len(audio.read_frames(file)) == 0
        assert file.seekable()
    assert {len(block) for block in blocks[:-1]} == {size}
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)


def test_read_frames_reads_the_rest(files):
    with audio.open_audio(files["wav"]) as file:
        assert len(audio.read_frames(file, 10)) == 10
        assert len(audio.read_frames(file)) == 39990


def test_errors_are_one_line_with_file_and_remedy(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "headerless.raw").write_bytes(b"1234")
    write(tmp_path / "none.wav", np.zeros(0))
    for name, message in {
        "missing.wav": "does not exist",
        ".": "is a folder",
        "empty.wav": "is empty",
        "text.wav": "is not audio",
        "headerless.raw": "is not audio",
        "none.wav": "has no samples",
    }.items():
        for use in (audio.open_audio, audio.inspect, lambda p: audio.read_segment(p, 0, 10)):
            with pytest.raises(AudioError, match=message) as caught:
                use(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_an_error(tmp_path, value):
    waveform = noise(1000)
    waveform[700] = value
    soundfile.write(tmp_path / "a.wav", waveform, 8000, "FLOAT")
    assert len(audio.read_segment(tmp_path / "a.wav", 0, 700)) == 700
    with pytest.raises(AudioError, match="NaN or infinite"):
        audio.read_segment(tmp_path / "a.wav", 600, 200)


def test_huge_finite_samples_are_not_an_error(tmp_path):
    waveform = np.full(100, 1e30, "float32")
    soundfile.write(tmp_path / "a.wav", waveform, 8000, "FLOAT")
    np.testing.assert_array_equal(audio.read_segment(tmp_path / "a.wav", 0, 100)[:, 0], waveform)


def test_damaged_file_is_an_error(tmp_path):
    path = write(tmp_path / "a.flac", noise(40000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"a\.flac"):
        audio.read_segment(path, 39000, 1000)


@pytest.mark.parametrize("start", [-1, 1000])
def test_start_outside_the_file_is_an_error(tmp_path, start):
    with pytest.raises(AudioError, match="outside"):
        audio.read_segment(write(tmp_path / "a.wav", noise(1000)), start, 10)


def test_negative_frames_are_an_error(files):
    with pytest.raises(ValueError, match="frames"):
        audio.read_segment(files["wav"], 0, -1)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 16000), (44100, 8000), (96000, 8000)])
def test_resample_keeps_a_tone_along_time(from_rate, to_rate):
    def tone(rate):
        phase = 2 * np.pi * 440 * np.arange(rate) / rate
        return np.stack([np.sin(phase), np.cos(phase)], axis=1).astype("float32")

    resampled = audio.resample(tone(from_rate), from_rate, to_rate)
    assert resampled.shape == (to_rate, 2)
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[500:-500], tone(to_rate)[500:-500], atol=2e-3)


def test_resample_to_the_same_rate_changes_nothing():
    waveform = noise(100)
    assert audio.resample(waveform, 8000, 8000) is waveform


@pytest.mark.parametrize("rates", [(0, 8000), (8000, -1)])
def test_resample_refuses_rates_that_are_not_positive(rates):
    with pytest.raises(ValueError, match="positive"):
        audio.resample(noise(100), *rates)

"""Files in, files out, and nothing half-written."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from fake_separators import HalfWaves, half_waves, noise

from keras_sep.data import AudioError
from keras_sep.inference import SeparationNotice, Separator, files


@pytest.fixture
def separator():
    return Separator(HalfWaves(sample_rate=8000, seed=0), chunk_seconds=0.5)


def write(path, waveform, rate=8000, **kwargs):
    soundfile.write(path, waveform, rate, **kwargs)
    return path


def read_all(paths):
    """`(num_sources, samples)`, or with channels at the end; the one with the higher mean first."""
    sources = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])
    return sources if sources[0].mean() > sources[1].mean() else sources[::-1]


def test_writes_one_file_a_source(tmp_path, separator):
    waveform = noise(20000)
    path = write(tmp_path / "a.b.wav", waveform)
    steps = []
    out = tmp_path / "new" / "folder"
    written = separator.separate_file(path, out, progress=lambda *step: steps.append(step))
    assert written == [out / "a.b_source1.wav", out / "a.b_source2.wav"]
    assert sorted(out.iterdir()) == written
    for source in written:
        info = soundfile.info(source)
        assert (info.samplerate, info.frames, info.channels) == (8000, 20000, 1)
        assert (info.format, info.subtype) == ("WAV", "PCM_16")
    np.testing.assert_allclose(read_all(written), half_waves(waveform), atol=1e-4)
    assert steps[-1] == (20000, 20000)
    assert len(steps) > 3
    assert steps == sorted(steps)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_every_format(tmp_path, separator, suffix):
    path = write(tmp_path / f"a.{suffix}", noise(9000))
    sources = read_all(separator.separate_file(path, tmp_path))
    assert sources.shape == (2, 9000)
    np.testing.assert_allclose(
        sources, half_waves(soundfile.read(path, dtype="float32")[0]), atol=1e-4
    )


@pytest.mark.parametrize(("subtype", "atol"), [("PCM_16", 5e-5), ("PCM_24", 1e-6), ("FLOAT", 0)])
def test_subtypes(tmp_path, separator, subtype, atol):
    waveform = noise(1000)
    path = write(tmp_path / "a.wav", waveform, subtype="FLOAT")
    written = separator.separate_file(path, tmp_path, subtype=subtype)
    assert soundfile.info(written[0]).subtype == subtype
    np.testing.assert_allclose(read_all(written), half_waves(waveform), atol=atol + 1e-7)


def test_eight_channels_of_24_bits_at_96_khz(tmp_path, separator):
    path = write(tmp_path / "a.wav", noise(50001, 8), 96000, subtype="PCM_24")
    with pytest.warns(SeparationNotice) as notices:
        (first, _) = separator.separate_file(path, tmp_path / "mix")
    assert [str(notice.message).split(": ")[1][:24] for notice in notices] == [
        "resampled 96000 → 8000 H",
        "8 channels mixed down to",
    ]
    info = soundfile.info(first)
    assert (info.samplerate, info.frames, info.channels) == (96000, 50001, 1)
    with pytest.warns(SeparationNotice, match="nothing above 4000 Hz"):
        (first, _) = separator.separate_file(path, tmp_path / "each", channels="each")
    info = soundfile.info(first)
    assert (info.samplerate, info.frames, info.channels) == (96000, 50001, 8)


@pytest.mark.filterwarnings("error::UserWarning")
def test_each_channel_on_its_own_with_the_same_order(tmp_path, separator):
    waveform = np.stack([noise(20000), 0.3 * noise(20000)], axis=1)
    path = write(tmp_path / "a.wav", waveform, subtype="FLOAT")
    written = separator.separate_file(path, tmp_path, channels="each", subtype="FLOAT")
    np.testing.assert_allclose(read_all(written), half_waves(waveform), atol=1e-5)


def test_mix_is_the_mean_of_the_channels(tmp_path, separator):
    waveform = np.stack([noise(3000), noise(3000, seed=1)], axis=1)
    path = write(tmp_path / "a.wav", waveform, subtype="FLOAT")
    with pytest.warns(SeparationNotice, match="2 channels mixed down"):
        written = separator.separate_file(path, tmp_path, subtype="FLOAT")
    np.testing.assert_allclose(read_all(written), half_waves(waveform.mean(axis=1)), atol=1e-5)


def test_clipping_is_said_and_float_keeps_all(tmp_path, separator):
    waveform = noise(1000)
    waveform[[10, 500]] = [2.0, -1.5]
    path = write(tmp_path / "a.wav", waveform, subtype="FLOAT")
    with pytest.warns(SeparationNotice, match=r"2 samples .* clipped, the highest by 6\.0 dB"):
        written = separator.separate_file(path, tmp_path / "pcm")
    sources = read_all(written)
    assert (sources.max(), sources.min()) == (pytest.approx(1, abs=1e-3), -1.0)
    written = separator.separate_file(path, tmp_path / "float", subtype="FLOAT")
    np.testing.assert_allclose(read_all(written), half_waves(waveform), atol=1e-5)


def test_existing_outputs_are_kept_unless_told(tmp_path, separator):
    path = write(tmp_path / "a.wav", noise(1000))
    (tmp_path / "a_source2.wav").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a_source2\.wav exists"):
        separator.separate_file(path, tmp_path)
    assert separator.model.lengths == []
    assert (tmp_path / "a_source2.wav").read_text() == "mine"
    assert not (tmp_path / "a_source1.wav").exists()
    written = separator.separate_file(path, tmp_path, overwrite=True)
    assert [soundfile.info(source).frames for source in written] == [1000, 1000]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_and_replaces_nothing(tmp_path, separator, error):
    path = write(tmp_path / "a.wav", noise(20000))
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_source1.wav").write_text("mine")

    def interrupt(done, total):
        assert 0 < done < total
        assert len(list(out.glob(".keras_sep-*/*"))) == 2
        raise error

    with pytest.raises(error):
        separator.separate_file(path, out, overwrite=True, progress=interrupt)
    assert list(out.iterdir()) == [out / "a_source1.wav"]
    assert (out / "a_source1.wav").read_text() == "mine"


def test_bad_samples_late_in_a_file_leave_nothing(tmp_path, separator):
    waveform = noise(20000)
    waveform[19000] = np.nan
    path = write(tmp_path / "a.wav", waveform, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        separator.separate_file(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_beyond_4_gb_are_rf64(tmp_path, separator, monkeypatch):
    monkeypatch.setattr(files, "_WAV_BYTES", 1999)
    path = write(tmp_path / "a.wav", noise(1000))
    (first, _) = separator.separate_file(path, tmp_path)
    assert soundfile.info(first).format == "RF64"
    assert soundfile.info(first).frames == 1000


def test_a_file_of_three_hours_in_constant_memory(tmp_path):
    path, minute = tmp_path / "long.flac", noise(60 * 1000)
    with soundfile.SoundFile(path, "w", 1000, 1) as file:
        for _ in range(180):
            file.write(minute)
    separator = Separator(HalfWaves(sample_rate=1000, seed=0))
    tracemalloc.start()
    written = separator.separate_file(path, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [soundfile.info(source).frames for source in written] == [180 * 60 * 1000] * 2
    assert peak < 20e6  # the recording: 43 MB


def test_one_sample(tmp_path, separator):
    path = write(tmp_path / "a.wav", noise(1), 44100)
    with pytest.warns(SeparationNotice, match="resampled"):
        written = separator.separate_file(path, tmp_path)
    assert [soundfile.info(source).frames for source in written] == [1, 1]


def test_arguments_out_of_range(tmp_path, separator):
    path = write(tmp_path / "a.wav", noise(1000))
    with pytest.raises(ValueError, match="channels"):
        separator.separate_file(path, tmp_path, channels="left")
    with pytest.raises(ValueError, match="subtype"):
        separator.separate_file(path, tmp_path, subtype="MP3")
    with pytest.raises(AudioError, match="does not exist"):
        separator.separate_file(tmp_path / "b.wav", tmp_path)
    with pytest.raises(OSError, match=r"a\.wav"):
        separator.separate_file(path, path / "out")

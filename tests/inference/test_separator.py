"""Separation of waveforms: chunks, order, scale, rates, blocks, models of every kind."""

import tracemalloc

import keras
import numpy as np
import pytest
from fake_separators import HalfWaves, half_waves, noise
from hypothesis import given
from hypothesis import strategies as st

from keras_sep.export import export_saved_model
from keras_sep.inference import Separator, bundled
from keras_sep.models import ConvTasNet


def small_model(**kwargs):
    sizes = {"filters": 16, "bottleneck_dim": 8, "hidden_dim": 8, "skip_dim": 8}
    model = ConvTasNet(num_blocks=2, num_repeats=1, **sizes, **kwargs)
    model.build((None, None))
    return model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return small_model()


def assert_half_waves(sources, waveform, atol=1e-5):
    expected = half_waves(waveform)
    if sources[0].mean() < sources[1].mean():
        expected = expected[::-1]
    np.testing.assert_allclose(sources, expected, atol=atol)


@given(samples=st.integers(1, 5000), seed=st.integers(0, 99))
def test_order_and_scale_are_kept_across_chunks(samples, seed):
    waveform = noise(samples, seed=seed)
    separator = Separator(HalfWaves(seed=seed), chunk_seconds=2.0, overlap_seconds=0.5)
    assert_half_waves(separator.separate(waveform), waveform)


def test_order_is_kept_through_pauses():
    # Whatever overlap the pauses fall into, there is a voice in half a chunk.
    waveform = noise(20000) * (np.arange(20000) // 90 % 2)
    separator = Separator(HalfWaves(seed=3), chunk_seconds=4.0, overlap_seconds=0.5)
    assert_half_waves(separator.separate(waveform), waveform)


def test_a_silent_overlap_keeps_the_order_of_the_model():
    waveform = noise(2000)
    waveform[300:900] = 0.0
    separator = Separator(HalfWaves(), chunk_seconds=4.0, overlap_seconds=1.0)
    np.testing.assert_allclose(separator.separate(waveform), half_waves(waveform), atol=1e-6)


def test_only_one_length_is_compiled_and_short_input_is_whole():
    fake = HalfWaves(seed=0)
    separator = Separator(fake, chunk_seconds=2.0, overlap_seconds=0.5)
    separator.separate(noise(200))
    separator.separate(noise(77))
    assert fake.lengths == [200, 77]
    fake.lengths.clear()
    separator.separate(noise(201))
    assert fake.lengths == [200, 200]
    separator.separate(noise(4321))
    assert set(fake.lengths) == {200}


@given(cuts=st.lists(st.integers(0, 1000), max_size=20), rate=st.sampled_from([100, 37, 441]))
def test_the_partition_into_blocks_makes_no_difference(cuts, rate):
    waveform = noise(1000)

    def separate(blocks):
        separator = Separator(HalfWaves(seed=5), chunk_seconds=1.0)
        return np.concatenate(list(separator.separate_blocks(blocks, rate)), axis=-1)

    whole = separate([waveform])
    assert whole.shape == (2, 1000)
    np.testing.assert_allclose(separate(np.split(waveform, sorted(cuts))), whole, atol=1e-6)


def test_blocks_may_be_reused_by_the_caller():
    waveform = noise(1000)

    def blocks(block=np.empty(10, "float32")):  # noqa: B008 (the same array every time)
        for start in range(0, 1000, 10):
            block[:] = waveform[start : start + 10]
            yield block

    separator = Separator(HalfWaves(), chunk_seconds=2.0)
    separated = np.concatenate(list(separator.separate_blocks(blocks())), axis=-1)
    assert_half_waves(separated, waveform)


def test_no_blocks_give_no_blocks():
    assert list(Separator(HalfWaves()).separate_blocks([])) == []
    assert list(Separator(HalfWaves()).separate_blocks([noise(0)], 4000)) == []


def test_three_hours_in_constant_memory():
    fake = HalfWaves(sample_rate=1000, seed=2)
    separator = Separator(fake, chunk_seconds=16.0, overlap_seconds=4.0)
    hours = 3 * 3600

    def blocks():
        rng = np.random.default_rng(0)
        for _ in range(hours):
            yield 0.1 * rng.standard_normal(1000, dtype="float32")

    tracemalloc.start()
    total = sum(sources.shape[1] for sources in separator.separate_blocks(blocks()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == hours * 1000
    # Chunks of 16 s, a hop of 12 s.
    assert len(fake.lengths) == hours // 12
    assert peak < 5e6  # a chunk of one source: 64 kB; the recording: 43 MB


@pytest.mark.parametrize("rate", [8000, 44100, 96000, 11025, 4000])
@pytest.mark.parametrize("samples", [1, 2, 9, 4001])
def test_every_rate_and_length_keeps_its_length(rate, samples):
    separator = Separator(HalfWaves(sample_rate=8000), chunk_seconds=0.1)
    sources = separator.separate(noise(samples), rate)
    assert sources.shape == (2, samples)
    assert sources.dtype == np.float32
    assert np.isfinite(sources).all()


def test_resampled_there_and_back_a_tone_stays_in_place():
    tone = np.sin(2 * np.pi * 440 / 44100 * np.arange(60000))
    separator = Separator(HalfWaves(sample_rate=8000), chunk_seconds=0.5)
    sources = separator.separate(tone, 44100)
    np.testing.assert_allclose(sources.sum(axis=0)[500:-500], tone[500:-500], atol=2e-3)


def test_scale_and_sign_of_the_decoder_make_no_difference(model):
    waveform = noise(3000)
    expected = Separator(model, chunk_seconds=0.2).separate(waveform)
    assert np.abs(expected).max() > 1e-3
    for factor in (100.0, -0.01):
        scaled = small_model()
        scaled.set_weights(model.get_weights())
        for weight in scaled.decoder.trainable_variables:
            weight.assign(weight * factor)
        sources = Separator(scaled, chunk_seconds=0.2).separate(waveform)
        np.testing.assert_allclose(sources, expected, atol=1e-4)


def test_sources_of_a_model_sum_to_about_the_mixture():
    waveform = noise(3000)
    sources = Separator(HalfWaves(seed=1), chunk_seconds=4.0).separate(waveform)
    np.testing.assert_allclose(sources.sum(axis=0), waveform, atol=1e-6)


@pytest.mark.parametrize("level", [1e-38, 1e-6, 1.0, 32768.0, 1e37])
def test_level_of_the_input_makes_no_difference(model, level):
    waveform = noise(1000).astype("float64")
    expected = Separator(model).separate(waveform)
    sources = Separator(model).separate(waveform * level)
    np.testing.assert_allclose(sources.astype("float64") / level, expected, atol=1e-4)


def test_integers_are_taken_as_they_are():
    waveform = (32767 * noise(500)).astype("int16")
    assert_half_waves(Separator(HalfWaves()).separate(waveform), waveform.astype("float32"), 1e-2)


def test_one_sample_and_silence(model):
    separator = Separator(model, chunk_seconds=0.1)
    assert separator.separate(np.ones(1, "float32")).shape == (2, 1)
    np.testing.assert_array_equal(separator.separate(np.zeros(3000)), np.zeros((2, 3000)))
    waveform = noise(3000)
    waveform[500:2200] = 0.0
    assert np.isfinite(separator.separate(waveform)).all()


def test_input_of_up_to_one_chunk_is_the_models_output_scaled(model):
    waveform = noise(800)
    sources = Separator(model).separate(waveform)
    for source, raw in zip(sources, model.predict_on_batch(waveform[None])[0], strict=True):
        gain = (source @ raw) / (raw @ raw)
        np.testing.assert_allclose(source, gain * raw, atol=1e-4)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), "at least one sample"),
        (np.zeros((1, 5)), r"shape \(samples,\)"),
        (np.float32(3.0), r"shape \(samples,\)"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([np.inf, 0.0]), "NaN or infinite"),
        (np.array([1e300, 0.0]), "NaN or infinite"),
        (np.array(["a"]), "numbers"),
        (np.array([1j]), "numbers"),
    ],
)
def test_waveforms_that_cannot_be_separated(waveform, message):
    with pytest.raises(ValueError, match=message):
        Separator(HalfWaves()).separate(waveform)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_seconds": 0.0}, "chunk_seconds"),
        ({"chunk_seconds": float("nan")}, "chunk_seconds"),
        ({"overlap_seconds": 17.0}, "overlap_seconds"),
        ({"overlap_seconds": 0.0}, "overlap_seconds"),
        ({"model": 3}, "model must be"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Separator(**{"model": HalfWaves(), **arguments})


@pytest.mark.parametrize(
    ("arguments", "chunk", "overlap"),
    [
        ({}, 32, 2),
        ({"chunk_seconds": 60}, 60, 2),
        ({"chunk_seconds": 8}, 8, 1),
        ({"overlap_seconds": 3}, 32, 3),
    ],
)
def test_chunks_by_default(arguments, chunk, overlap):
    fake = HalfWaves(sample_rate=100)
    Separator(fake, **arguments).separate(noise(100 * (2 * chunk - overlap)))
    assert fake.lengths == [100 * chunk] * 2


@pytest.mark.parametrize("rate", [0, -8000, float("inf"), float("nan")])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="sample_rate"):
        Separator(HalfWaves()).separate(noise(10), rate)


def test_models_from_files_and_the_bundled_one(model, tmp_path, monkeypatch):
    waveform = noise(1000)
    expected = Separator(model).separate(waveform)
    home = tmp_path / "saved_models" / bundled.SEPARATOR
    archive = home / f"{bundled.SEPARATOR}.keras"
    monkeypatch.setattr(bundled, "FOLDERS", (tmp_path / "nowhere", tmp_path / "saved_models"))
    with pytest.raises(ValueError, match="bundled model"):
        Separator()
    export_saved_model(model, home / "9")
    export_saved_model(model, home / "10")
    model.save(archive)
    for path in (archive, str(archive), home / "9", home, None):
        separator = Separator(path)
        assert (separator.num_sources, separator.sample_rate) == (2, 8000)
        np.testing.assert_allclose(separator.separate(waveform), expected, atol=1e-4)
    (home / "11").mkdir()
    with pytest.raises(ValueError, match=r"11 is not a SavedModel"):
        Separator(home)


def test_bfloat16_of_files(model, tmp_path):
    path, mixture = tmp_path / "model.keras", noise(2000)[None]
    model.save(path)
    exact, rough = (Separator(path, dtype=dtype) for dtype in (None, "bfloat16"))
    assert rough.model.separator.compute_dtype == "bfloat16"
    assert rough.model.decoder.compute_dtype == "float32"
    sources = keras.ops.convert_to_numpy(exact.model(mixture))
    error = keras.ops.convert_to_numpy(rough.model(mixture)) - sources
    # bfloat16 has 8 bits.
    assert 0 < np.square(error).sum() < 1e-3 * np.square(sources).sum()


def test_a_dtype_of_what_has_its_own(model, tmp_path):
    export_saved_model(model, tmp_path / "1")
    for argument, dtype, message in [
        (tmp_path / "1", "bfloat16", "give a .keras file"),
        (model, "bfloat16", "dtype goes with the path"),
        (tmp_path / "1", "float8", 'must be "float32" or "bfloat16"'),
    ]:
        with pytest.raises(ValueError, match=message):
            Separator(argument, dtype=dtype)


def test_compiled_from_a_file(model, tmp_path):
    path, waveform = tmp_path / "model.keras", noise(2000)
    model.save(path)
    export_saved_model(model, tmp_path / "1")
    for argument in (tmp_path / "1", model):
        with pytest.raises(ValueError, match="jit_compile goes with the path"):
            Separator(argument, jit_compile=True)
    if keras.backend.backend() == "tensorflow":
        for argument in (path, None):
            with pytest.raises(ValueError, match="PyTorch"):
                Separator(argument, jit_compile=True)
        return
    for argument in (path, None):
        np.testing.assert_allclose(
            Separator(argument, jit_compile=True).separate(waveform),
            Separator(argument).separate(waveform),
            atol=1e-5,
        )


def test_files_that_are_not_separators(tmp_path):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    (tmp_path / "text.keras").write_text("weights")
    (tmp_path / "folder").mkdir()
    small_model().save(tmp_path / "model.keras")
    (tmp_path / "model.zip").write_bytes((tmp_path / "model.keras").read_bytes())
    for name, message in {
        "other.keras": "is a Sequential, not a separator",
        "text.keras": "is not a .keras file",
        "missing.keras": "does not exist",
        "folder": "holds no SavedModel",
        "model.zip": "must have the suffix .keras",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            Separator(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_one_line(tmp_path):
    path = tmp_path / "model.keras"
    small_model().save(path)
    content = bytearray(path.read_bytes())
    # Within the weights, which lie behind config.json.
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras") as caught:
        Separator(path)
    assert "\n" not in str(caught.value)

"""The parts of examples/data/fetch_voices.py that need no network."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).parents[2] / "examples" / "data" / "fetch_voices.py"


@pytest.fixture(scope="module")
def fetch():
    spec = importlib.util.spec_from_file_location("fetch_voices", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def tone(seconds: float, frequency: float = 440.0, rate: int = 8000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def padded(signal: np.ndarray, seconds: float, noise: float = 0.0) -> np.ndarray:
    rest = np.zeros(round(seconds * 8000), np.float32)
    both = np.concatenate([rest, signal, rest])
    return both + noise * np.random.default_rng(0).standard_normal(len(both)).astype(np.float32)


# The last noise, 42 dB below the tone, is above the line of 45 dB.
@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.3 / np.sqrt(2) * 10 ** (-42 / 20)])
def test_trim_leaves_the_sound_and_a_margin(fetch, noise):
    trimmed = fetch.trim(padded(tone(1.0), 2.0, noise), 8000)
    assert len(trimmed) / 8000 == pytest.approx(1.1, abs=0.02)


def test_trim_keeps_a_pause_inside(fetch):
    pause = np.zeros(8000, np.float32)
    signal = np.concatenate([tone(0.5), pause, tone(0.5)])
    assert len(fetch.trim(padded(signal, 1.0), 8000)) / 8000 == pytest.approx(2.1, abs=0.02)


def test_trim_of_steady_noise_keeps_it_all(fetch):
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    assert len(fetch.trim(noise, 8000)) == 8000


@pytest.mark.parametrize("samples", [0, 10, 8000])
def test_trim_of_silence_is_empty(fetch, samples):
    assert len(fetch.trim(np.zeros(samples, np.float32), 8000)) == 0


def test_highpass_removes_hum_and_keeps_the_voice(fetch):
    voice = tone(1.0, 200.0)
    heard = fetch.highpass(voice + tone(1.0, 25.0) + 0.1, 8000)
    middle = slice(2000, 6000)  # the ends ring
    error = np.std(heard[middle] - voice[middle]) / np.std(voice[middle])
    assert error < 0.02


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros(0, np.float32),
        np.zeros(8000, np.float32),
        tone(0.15),
        tone(1.0) * 1e-3,
        np.full(8000, np.nan, np.float32),
    ],
    ids=["empty", "silent", "short", "faint", "nan"],
)
def test_prepare_drops_what_is_no_utterance(fetch, signal):
    assert fetch.prepare(signal) is None


def test_prepare_scales_only_what_would_clip(fetch):
    # 5 %: the high-pass rings where the tone starts.
    assert np.max(np.abs(fetch.prepare(tone(1.0)))) == pytest.approx(0.3 * 32767, rel=0.05)
    assert np.max(np.abs(fetch.prepare(tone(1.0) * 10))) == 32767


def test_split_is_stable_and_near_80_10_10(fetch):
    names = [f"usr/share/sounds/{i}.wav" for i in range(5000)]
    splits = [fetch.split_of("carlo_flora", name) for name in names]
    assert splits == [fetch.split_of("carlo_flora", name) for name in names]
    assert splits.count("train") / 5000 == pytest.approx(0.8, abs=0.02)
    assert splits.count("valid") / 5000 == pytest.approx(0.1, abs=0.02)
    # Written down: a change here would move utterances between the splits of old corpora.
    assert splits[0] == "valid"
    assert splits[6] == splits[8] == "test"
    assert {*splits[1:6], splits[7], *splits[9:12]} == {"train"}
    assert {fetch.split_of("tux_el", name) for name in names} == {"unseen"}


@pytest.mark.parametrize(
    ("package", "path", "speaker"),
    [
        ("asterisk-core-sounds-en-wav", "sounds/en_US_f_Allison/digits/1.wav", "allison_smith"),
        ("asterisk-core-sounds-es-wav", "sounds/es_MX_f_Allison/hello.wav", "allison_smith"),
        ("asterisk-core-sounds-en-wav", "sounds/en_US_f_Allison/silence/1.wav", None),
        ("asterisk-core-sounds-en-wav", "sounds/en_US_f_Allison/beeperr.wav", None),
        ("asterisk-core-sounds-en-wav", "sounds/en_US_f_Allison/tt-monkeys.wav", None),
        ("asterisk-core-sounds-en-wav", "doc/asterisk-core-sounds-en-wav/copyright", None),
        ("asterisk-prompt-es-co", "asterisk/sounds/es/beep.gsm", None),
        ("asterisk-prompt-es-co", "asterisk/sounds/es/hello.gsm", "july_jimenez"),
        ("tuxpaint-stamps-default", "stamps/animals/cat_desc_ro.ogg", "tux_ro"),
        ("tuxpaint-stamps-default", "stamps/animals/cat_desc_fr.ogg", None),
        ("tuxpaint-stamps-default", "stamps/animals/cat.ogg", None),
        ("fillets-ng-data-cs", "sound/city/cs/vit-m-hlava.ogg", "fillets_cs_small"),
        ("fillets-ng-data-nl", "sound/city/nl/vit-v-hlava.ogg", "fillets_nl_big"),
        ("fillets-ng-data-cs", "sound/city/cs/vit-hs-klid1.ogg", None),
        ("klettres-data", "share/klettres/pt_BR/alpha/a.ogg", "klettres_pt_BR"),
        ("klettres-data", "share/klettres/de/alpha/a.ogg", "klettres_de_woman"),
        ("klettres-data", "share/klettres/de/alpha/sz.ogg", "klettres_de_man"),
        ("klettres-data", "share/klettres/de/syllab/ba.ogg", "klettres_de_man"),
    ],
)
def test_the_path_names_the_speaker(fetch, package, path, speaker):
    speakers = (s.speaker_of(path) for s in fetch.SOURCES if s.package == package)
    assert next(filter(None, speakers), None) == speaker


def write(folder: Path, name: str, signal: np.ndarray) -> tuple[str, Path]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, 8000)
    return name, path


def test_a_recording_under_two_names_is_taken_once(fetch, tmp_path):
    files = [write(tmp_path, f"a/{i}.wav", tone(0.5, 200 + 10 * i)) for i in range(40)]
    # The same again under another name.
    files += [write(tmp_path, f"b/{i}.wav", tone(0.5, 200 + 10 * i)) for i in range(40)]
    files.append(("c/broken.wav", tmp_path / "c.wav"))
    files[-1][1].write_bytes(b"no audio")
    fetch.convert_speaker(tmp_path / "corpus", "someone", files, set())
    written = list((tmp_path / "corpus").glob("*/someone/*.flac"))
    assert len(written) == 40
    assert {file.name.split("-")[0] for file in written} == {"a"}
    assert {file.parent.parent.name for file in written} == {"train", "valid", "test"}
    info = soundfile.info(written[0])
    assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")


def test_another_speaker_does_not_get_it_either(fetch, tmp_path):
    files = [write(tmp_path, "a/1.wav", tone(0.5)), write(tmp_path, "a/2.wav", tone(0.5, 500))]
    out = tmp_path / "corpus"
    fetch.convert_speaker(out, "one", files, set())
    fetch.convert_speaker(out, "two", files, fetch.known_digests(out))
    assert len(list(out.glob("*/one/*.flac"))) == 2
    assert not list(out.glob("*/two/*.flac"))


def test_an_interrupted_speaker_is_done_anew(fetch, tmp_path):
    files = [write(tmp_path, f"a/{i}.wav", tone(0.5, 200 + 10 * i)) for i in range(40)]
    out = tmp_path / "corpus"

    calls = iter(range(100))

    def interrupt():
        if next(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.convert_speaker(out, "someone", files, set(), interrupt)
    assert not fetch.finished(out, "someone")
    assert (out / "someone.partial").is_dir()
    fetch.clear(out, "someone")
    fetch.convert_speaker(out, "someone", files, fetch.known_digests(out))
    assert fetch.finished(out, "someone")
    assert len(list(out.glob("*/someone/*.flac"))) == 40
    assert not (out / "someone.partial").exists()


def test_a_missing_tool_is_named(fetch, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(fetch.shutil, "which", lambda tool: None)
    assert fetch.main(["--out", str(tmp_path / "corpus")]) == 2
    error = capsys.readouterr().err
    assert "apt-get" in error
    assert "any folder" in error
    assert error.count("\n") == 1

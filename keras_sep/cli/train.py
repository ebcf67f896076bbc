"""`keras-sep train`: train a Conv-TasNet on a folder of recordings."""

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError
from keras_sep.cli._initial_model import load_initial_model, was_given
from keras_sep.cli._run_folder import check_same_run, record
from keras_sep.xla_flags import without_ynnpack


def train(
    context: typer.Context,
    corpus: Annotated[
        Path,
        typer.Argument(
            help="Folder with train/<speaker>/ and valid/<speaker>/, or just <speaker>/, of which "
            "a tenth of the files is kept for validation."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is there goes on.")],
    num_sources: Annotated[
        int, typer.Option(help="Speakers in a mixture; with --mixit, outputs of the model.")
    ] = 2,
    min_sources: Annotated[
        int | None,
        typer.Option(help="Fewest speakers in a mixture; the other outputs fall silent."),
    ] = None,
    enhance: Annotated[
        bool, typer.Option(help="Separate one speaker from the noise of --noise.")
    ] = False,
    mixit: Annotated[
        bool,
        typer.Option(
            help="Learn from recordings that are mixtures themselves, two at a time, of different "
            "folders in place of speakers."
        ),
    ] = False,
    sample_rate: Annotated[int, typer.Option(help="In Hz.")] = 8000,
    filters: Annotated[int, typer.Option(help="Filters of encoder and decoder (N).")] = 512,
    kernel_size: Annotated[int, typer.Option(help="Their length in samples (L).")] = 16,
    bottleneck_dim: Annotated[int, typer.Option(help="Channels between the blocks (B).")] = 128,
    hidden_dim: Annotated[int, typer.Option(help="Channels in the blocks (H).")] = 512,
    skip_dim: Annotated[int, typer.Option(help="Channels of the skip path (Sc), 0: none.")] = 128,
    num_blocks: Annotated[int, typer.Option(help="Blocks in a stack (X).")] = 8,
    num_repeats: Annotated[int, typer.Option(help="Stacks (R).")] = 3,
    normalization: Annotated[str, typer.Option(help="global, cumulative or batch.")] = "global",
    mask_activation: Annotated[str, typer.Option(help="sigmoid, relu or softmax.")] = "sigmoid",
    causal: Annotated[bool, typer.Option(help="See past samples only.")] = False,
    segment_seconds: Annotated[float, typer.Option(help="Length of the mixtures.")] = 4.0,
    batch_size: Annotated[int, typer.Option(help="Mixtures in a batch.")] = 4,
    steps: Annotated[int, typer.Option(help="Batches in an epoch.")] = 1000,
    valid_mixtures: Annotated[int, typer.Option(help="Mixtures to validate on.")] = 200,
    epochs: Annotated[int, typer.Option(help="Epochs in all.")] = 100,
    optimizer: Annotated[
        str, typer.Option(help="adam, or muon: Muon for the matrices and Adam for the rest.")
    ] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Of the optimizer, at first.")] = 1e-3,
    plateau: Annotated[
        int, typer.Option(help="Epochs without improvement after which the rate is halved.")
    ] = 3,
    patience: Annotated[
        int, typer.Option(help="Epochs without improvement after which training stops.")
    ] = 10,
    cooldown: Annotated[
        int, typer.Option(help="Epochs at the end over which the rate falls to almost zero.")
    ] = 0,
    ema: Annotated[
        float,
        typer.Option(help="Momentum of an average of the weights, kept as the model; 0: none."),
    ] = 0.0,
    snr_range: Annotated[float, typer.Option(help="Range of the gains in dB.")] = 5.0,
    noise: Annotated[Path | None, typer.Option(help="Folder of noise to add.")] = None,
    noise_snr: Annotated[
        tuple[float, float],
        typer.Option(help="Lowest and highest ratio of speech to noise, in dB."),
    ] = (0.0, 15.0),
    speed_change: Annotated[
        tuple[float, float], typer.Option(help="Slowest and fastest speed change of a voice.")
    ] = (1.0, 1.0),
    reverberation: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Shortest and longest RT60 of simulated rooms, in seconds."),
    ] = None,
    resample: Annotated[bool, typer.Option(help="Resample files of another rate.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            help="A .keras file, also a converted one, that a new run starts from. Its sizes, "
            "sample rate and the like are the run's."
        ),
    ] = None,
    mixed_precision: Annotated[bool, typer.Option(help="bfloat16 where it is safe.")] = False,
    seed: Annotated[int, typer.Option(help="Of the weights and mixtures.")] = 0,
):
    """Trains a Conv-TasNet. Kill it at any time; the same command goes on where it stopped.

    OUT receives best.keras (the model), log.csv, curves.png, config.json and the backup.
    """
    config = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in locals().items()
        if name not in ("context", "corpus", "out", "epochs", "plateau", "patience", "cooldown")
    }
    _check(valid_mixtures, "--valid-mixtures", 1)
    _check(epochs, "--epochs", 1)
    _check(plateau, "--plateau", 1)
    _check(patience, "--patience", 1)
    _check(cooldown, "--cooldown", 0)
    _check(seed, "--seed", 0, 2**31)
    _check(learning_rate, "--learning-rate", 0.0, 1.0)
    _check(ema, "--ema", 0.0, 0.99999)
    if noise is None and was_given(context, "noise_snr"):
        raise UserError("--noise-snr needs noise: give its folder with --noise")
    model = None
    if init is not None:
        dtype = "bfloat16" if mixed_precision else "float32"
        model, architecture = load_initial_model(init, dtype, context)
        config |= architecture
        num_sources, sample_rate = model.num_sources, model.sample_rate
    _check(num_sources, "--num-sources", 1, 6)
    if min_sources is not None:
        _check(min_sources, "--min-sources", 1, num_sources)
    _check_task(num_sources, min_sources, enhance, mixit, noise, init)
    check_same_run(out, config, train)

    without_ynnpack()
    import_keras()
    import keras

    from keras_sep.data import SpeechMixtures
    from keras_sep.metrics import SISNRImprovement
    from keras_sep.models import ConvTasNet

    mixing = {
        "num_sources": 1 if enhance else 2 if mixit else num_sources,
        "min_sources": min_sources,
        "segment_seconds": segment_seconds,
        "sample_rate": sample_rate,
        "batch_size": batch_size,
        "snr_range": snr_range,
        "noise_folder": noise,
        "noise_snr_range": noise_snr,
        "noise_target": enhance,
        "reverberation_range": reverberation,
        "resample": resample,
    }
    split = (corpus / "train").is_dir() and (corpus / "valid").is_dir()
    share = 0.0 if split else 0.1
    try:
        training = SpeechMixtures(
            corpus / "train" if split else corpus,
            validation_split=share,
            subset="training" if share else None,
            num_batches=steps,
            speed_range=None if speed_change == (1.0, 1.0) else speed_change,
            seed=seed,
            **mixing,
        )
        validation = SpeechMixtures(
            corpus / "valid" if split else corpus,
            validation_split=share,
            subset="validation" if share else None,
            num_batches=-(-valid_mixtures // batch_size),
            fixed=True,
            seed=seed + 1,
            **mixing,
        )
        training.check_speakers()
        validation.check_speakers()
        keras.utils.set_random_seed(seed)
        if model is None:
            model = ConvTasNet(
                num_sources,
                sample_rate,
                filters,
                kernel_size,
                bottleneck_dim=bottleneck_dim,
                hidden_dim=hidden_dim,
                skip_dim=skip_dim or None,
                num_blocks=num_blocks,
                num_repeats=num_repeats,
                normalization=normalization,
                mask_activation=mask_activation,
                causal=causal,
                dtype="mixed_bfloat16" if mixed_precision else None,
            )
            model.build((None, None))
    except (ValueError, ImportError) as error:
        raise UserError(_by_options(str(error), config)) from None
    model.compile(
        optimizer=_optimizer(
            optimizer, learning_rate, global_clipnorm=5.0, use_ema=ema > 0, ema_momentum=ema or 0.99
        ),
        loss=_loss(num_sources, min_sources, enhance, mixit),
        # Without references of the single sources there is nothing to measure.
        metrics=[] if mixit else [SISNRImprovement(fixed_order=enhance)],
        jit_compile=keras.backend.backend() != "torch",
    )
    record(out, config)
    try:
        model.fit(
            training,
            validation_data=validation,
            epochs=epochs,
            callbacks=_callbacks(out, training, plateau, patience, cooldown, ema > 0, mixit),
        )
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}") from None


def _by_options(message, options):
    """An error of the Python interface in one line, arguments called by the command's names."""
    others = {"noise_folder": "noise", "noise_snr_range": "noise_snr"}
    others |= {"reverberation_range": "reverberation", "speed_range": "speed_change"}

    def option(match):
        name = others.get(match[1], match[1])
        return f"--{name.replace('_', '-')}" if name in options else match[0]

    return re.sub(r"`(\w+)`", option, " ".join(message.split()))


def _check_task(num_sources, min_sources, enhance, mixit, noise, init):
    if enhance and mixit:
        raise UserError("--enhance needs recordings of one speaker, --mixit mixtures; choose one")
    if enhance and noise is None:
        raise UserError("--enhance needs noise: give its folder with --noise")
    if enhance and num_sources != 2:
        remedy = "leave --num-sources out" if init is None else "give an --init of two sources"
        raise UserError(f"--enhance has two sources, the speaker and the noise; {remedy}")
    if min_sources is not None and (enhance or mixit):
        option = "--enhance" if enhance else "--mixit"
        raise UserError(f"{option} has a fixed number of recordings; leave --min-sources out")
    if mixit and num_sources < 3:
        remedy = "--num-sources 3 to 6" if init is None else "an --init of 3 to 6 sources"
        raise UserError(
            f"--mixit needs outputs for all speakers of two mixtures: give {remedy}, "
            "twice the speakers of a recording"
        )


def _loss(num_sources, min_sources, enhance, mixit):
    from keras_sep.losses import (
        SISNR,
        FixedOrder,
        MixtureInvariant,
        PermutationInvariant,
        ThresholdSNR,
    )

    if enhance:
        return FixedOrder(SISNR())
    if mixit:
        return MixtureInvariant()
    # SI-SNR is undefined for the silent references of mixtures of fewer speakers.
    return PermutationInvariant(SISNR() if min_sources in (None, num_sources) else ThresholdSNR())


def _optimizer(name, learning_rate, **kwargs):
    import keras

    if name == "adam":
        return keras.optimizers.Adam(learning_rate, **kwargs)
    if name == "muon":
        return keras.optimizers.Muon(
            learning_rate, weight_decay=None, adam_weight_decay=None, **kwargs
        )
    raise UserError(f"--optimizer must be adam or muon, got {name}")


def _callbacks(out, training, plateau, patience, cooldown, ema, mixit):
    import keras

    from keras_sep.callbacks import BestModel, Cooldown, ResumableBackup, TrainingCurves

    monitor = {"monitor": "val_si_snr_improvement", "mode": "max"}
    if mixit:
        monitor = {"monitor": "val_loss", "mode": "min"}
    reduce_rate = keras.callbacks.ReduceLROnPlateau(
        factor=0.5, patience=plateau, verbose=1, **monitor
    )
    stop_early = keras.callbacks.EarlyStopping(patience=patience, verbose=1, **monitor)
    return [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(training, "epoch", epoch)
        ),
        Cooldown(cooldown),
        reduce_rate,
        stop_early,
        *([keras.callbacks.SwapEMAWeights()] if ema else []),
        BestModel(out / "best.keras", **monitor),
        # After the best model: a kill between them repeats the epoch, and loses nothing.
        ResumableBackup(out / "backup", remember=[reduce_rate, stop_early]),
        keras.callbacks.CSVLogger(out / "log.csv", append=True),
        TrainingCurves(out / "log.csv", out / "curves.png"),
    ]


def _check(value, option, low, high=math.inf):
    if not low <= value <= high:
        bound = f"at least {low}" if high == math.inf else f"from {low} to {high:.3g}"
        raise UserError(f"{option} must be {bound}, got {value}")

"""Settings of the C library's memory allocator, for commands and training scripts."""

import ctypes

from keras_sep.backend_name import backend_name

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that is freed, and not return it to the system.

    A network frees and allocates its features, megabytes each, in every operation. By default glibc
    maps each such piece anew, and the system fills it with zeros at the first touch. Separating 4 s
    by the paper's best configuration, that was about a third of the time of XLA and a quarter of
    JAX's (2 cores, single runs). Other C libraries have no such switch, and nothing happens.

    JAX allocates all that a program needs in one piece, by threads that glibc gives arenas of their
    own, and maps what is over an arena's 64 MiB after all. There all threads share one arena: a
    training step of a small Conv-TasNet takes 0.20 s then and 0.26 before (2 cores with AVX-512).
    They also share a lock, and TensorFlow's step is slower with it, 0.18 s and 0.17.

    What JAX frees is not always used again: separating recordings in chunks of 32 s took 230 to 950
    MB, an hour twice 463, and without these settings 241, in 1.2 times the time (the bundled model,
    single runs). So with JAX `keras-sep` has them for training alone.

    For a process of our own, before the backend starts threads: it holds for all that the process
    does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)  # Never. Any number would be less than 2 GiB.
    if backend_name() == "jax":
        mallopt(_M_ARENA_MAX, 1)

"""Settings of the C library's memory allocator, for commands and training scripts."""

import ctypes

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that is freed, and not return it to the system.

    A network frees and allocates its features, megabytes each, in every operation. By default glibc
    maps each such piece anew, and the system fills it with zeros at the first touch. Separating 4 s
    by the paper's best configuration, that was about a third of the time of XLA and a quarter of
    JAX's (2 cores, single runs). Other C libraries have no such switch, and nothing happens.

    For a process of our own: it holds for all that the process does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)

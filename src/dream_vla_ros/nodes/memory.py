"""Memory of processes that pass images on: what one image leaves free is kept for the next."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Above every image, and the most that glibc allows.
_LARGEST_KEPT = 32 * 2**20
# Of several cameras' images in each of their forms, for each thread that allocates.
_KEPT_PER_THREAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Keep freed blocks of images' size instead of handing them back to the system.

    glibc maps such blocks anew each time, and the system clears them page by page when they are touched: 450
    page faults for each raw image of 640 x 480 pixels, more work than all else that is done to receive it.

    :returns: Whether this C library can be told so.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT_PER_THREAD))

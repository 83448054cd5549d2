"""Environment that keeps glibc from giving memory back between training steps."""

from __future__ import annotations

# A step frees and takes the same gigabyte again; handing it to the kernel and back makes eager training on a
# processor three times slower. Read by glibc when a process starts.
MALLOC_SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
}

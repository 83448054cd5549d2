"""Training modules of the tabletop start themselves once more, in several processes that train together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# A step frees and takes the same gigabyte again; handing it to the kernel and back makes eager training on a
# processor three times slower. Read by glibc when a process starts.
MALLOC_SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def run_in_processes(module: str, processes: int, arguments: Sequence[str]) -> int:
    """Run a module on the processor in processes that share each step's work, and wait for them.

    One thread each: processes that meet once a step share two cores better than threads that meet at every
    layer.

    :param module: Its full name.
    :returns: The exit status.
    """
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, "-m", module, *arguments]
    environment = {**os.environ, **MALLOC_SETTINGS, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, env=environment, check=False).returncode

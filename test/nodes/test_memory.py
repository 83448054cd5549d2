"""Freed memory of an image's size is used again without asking the system for it."""

import subprocess
import sys

import pytest

# in a process of its own: other tests must not inherit the setting
FAULTS = """
import resource, sys, threading
from dream_vla_ros.nodes.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def pass_images(count):
    for _ in range(count):
        held = [bytearray(size) for size in (921_600, 921_633, 921_600)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    pass_images(5)
    before = faults()
    pass_images(100)
    print((faults() - before) / 100)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(how: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True, timeout=120
    )
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_images_fault_no_pages_in_again():
    kept = faults("keep")
    assert kept < 5, f"{kept} page faults per image; without the setting there are 326"

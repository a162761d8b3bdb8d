"""The machine of a run, in words."""

import os
import platform
import statistics
import time
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir

from bench.sqlite import sqlite3

#: Writes that are timed to know the disk.
_WRITES = 200


def in_words(rabbitmq: str) -> str:
    """Cores, memory, disk, and the versions of what takes part.

    Args:
        rabbitmq: its version.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {memory:.0f} GiB of memory, {_disk()}, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, RabbitMQ {rabbitmq}; load average before: {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _disk() -> str:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    here = Path(gettempdir()).resolve()
    device, _, kind = max(
        (mount[:3] for mount in mounts if here.is_relative_to(mount[1])), key=lambda mount: len(mount[1])
    )
    name = device.rpartition("/")[2]
    bus = next((words for start, words in _BUSES.items() if name.startswith(start)), "a disk")
    return f"{bus} with {kind} that takes {_write_time() * 1000:.1f} ms for 4 KiB and their fsync"


_BUSES = {"vd": "a virtual disk", "xvd": "a virtual disk", "nvme": "an NVMe disk", "tmpfs": "memory as a disk"}


def _write_time() -> float:
    """The median, in seconds."""
    times = []
    with NamedTemporaryFile() as file:
        for _ in range(_WRITES):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)

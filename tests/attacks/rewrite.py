"""Rewrites all memory that a worker shares with others, and tries to write where it may only read.

{"worker": PID} -> {"rewritten": [NAME], "opened": [HOW], "readable": [NAME]}
"""

import os

import common
import inject

# Numbers that are too large, that look like addresses, and that are small.
PATTERNS = [b"\xff" * 8, b"\x41" * 8, (1).to_bytes(8, "little"), b"\x00" * 8]

PROT_READ, PROT_WRITE = 1, 2


def rewrite(memory, region, pattern):
    os.pwrite(memory, pattern * (region.length // 8), region.start)


def through_mem(pid, memory, region):
    """As /proc/PID/mem lets a debugger write into a program's code."""
    content = os.pread(memory, 8, region.start)
    os.pwrite(memory, content, region.start)


def through_map_files(pid, memory, region):
    os.close(os.open(f"/proc/{pid}/map_files/{region.range}", os.O_RDWR))


def through_mprotect(pid, memory, region):
    inject.call(pid, "mprotect", region.start, region.length, PROT_READ | PROT_WRITE)


def through_descriptors(pid, memory, region):
    """Opens the file anew, for writing."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{number}"
        if os.readlink(link) == region.name:
            os.close(os.open(link, os.O_RDWR))
            return
    raise OSError("there is no descriptor")


WAYS = [through_mem, through_map_files, through_mprotect, through_descriptors]


if __name__ == "__main__":
    pid = common.arguments()["worker"]
    memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    shared = [region for region in common.regions(pid) if region.mode[3] == "s"]
    readable = [region for region in shared if region.mode[1] != "w"]
    opened = []
    for region in readable:
        for way in WAYS:
            try:
                way(pid, memory, region)
                opened.append(f"{region.name} {way.__name__}")
            except OSError:
                pass
    # What was opened is rewritten as well.
    writable = [region for region in common.regions(pid) if region.mode[1] == "w"]
    writable = [region for region in writable if region.mode[3] == "s"]
    for pattern in PATTERNS:
        for region in writable:
            rewrite(memory, region, pattern)
    names = sorted({region.name for region in writable})
    common.report(rewritten=names, opened=opened, readable=[region.name for region in readable])

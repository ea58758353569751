"""Makes processes dump core, and searches what they leave behind.

{"processes": {NAME: PID}, "needles": [HEX], "directory": PATH}
-> {"signalled": [NAME], "cores": N, "hits": N}
"""

import os
import signal
import time

import common


def is_gone(pid):
    """Whether it has ended, or been ended by the kernel up to its exit status."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] in ("Z", "X")
    except OSError:
        return True


def crash(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        return False
    end = time.monotonic() + 20
    while not is_gone(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    given = common.arguments()
    needles = [bytes.fromhex(needle) for needle in given["needles"]]
    signals = [signal.SIGSEGV, signal.SIGABRT]
    signalled = [name for number, (name, pid) in enumerate(given["processes"].items())
                 if crash(pid, signals[number % 2])]
    cores = hits = 0
    for name in os.listdir(given["directory"]):
        if name.startswith("core"):
            cores += 1
            with open(f"{given['directory']}/{name}", "rb") as file:
                content = file.read()
            hits += sum(content.count(needle) for needle in needles)
    common.report(signalled=signalled, cores=cores, hits=hits)

"""Wins the memory of new processes of an nginx at their birth, if that can be won.

Opens /proc/PID/mem of each process that the master and its children start, as early as it can, and
searches it then and later, until the file "stop" exists. Kills the cache manager and its like again
and again if it is told to. Says that it has begun by the file "begun".

{"master": PID, "needles": [HEX], "kill": BOOL, "stop": PATH, "begun": PATH}
-> {"hits": N, "opened": {TITLE: N}, "kills": N, "seen": N}
"""

import os
import signal
import time

import common

# A process that runs this long has forgotten what it forgets.
SETTLED = 0.3

# What a worker has unmapped is no larger.
LARGEST_GAP, STEP = 1 << 20, 4096


class Target:
    def __init__(self, pid):
        self.pid, self.born, self.done = pid, time.monotonic(), False
        self.memory, self.maps, self.title = None, [], "unknown"

    def attack(self):
        """Tries the door; gives the hits of a first look."""
        try:
            self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        except OSError:
            # What is refused now may be open in a moment, but not for ever.
            self.done = time.monotonic() - self.born > 5
            return 0
        try:
            self.maps = common.regions(self.pid)
        except OSError:
            # The door is closed again, but what is open stays open.
            self.maps = layout
        self.name()
        return self.look()

    def name(self):
        """Takes its title, if it is there. A new process has that of its parent, the master."""
        title = common.title(self.pid).removeprefix("nginx: ")
        if title and not title.startswith("master process"):
            self.title = title
        return title

    def look(self):
        return common.count(self.memory, self.maps, needles)

    def settled(self):
        """Whether it has been there for a while, or is gone again."""
        return not self.name() or time.monotonic() - self.born > SETTLED


def guess():
    """Where the memory of a child of the master may lie: as that of a worker, and in its gaps."""
    maps = []
    for pid in common.children(given["master"]):
        try:
            maps = common.regions(pid)
            break
        except OSError:
            pass
    gaps = []
    for before, after in zip(maps, maps[1:]):
        if after.start - before.end <= LARGEST_GAP:
            starts = range(before.end, after.start, STEP)
            gaps += [common.Region(f"{start:x}-{start + STEP:x} r") for start in starts]
    return maps + gaps


def family():
    """The master's children and theirs."""
    found = common.children(given["master"])
    for pid in list(found):
        found += common.children(pid)
    return found


def kill():
    """Kills all but workers that may be killed."""
    killed = 0
    for pid in family():
        title = common.title(pid)
        # Right after the fork it has the master's.
        if "worker process" in title or title.startswith("nginx: master"):
            continue
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except OSError:
            pass
    return killed


if __name__ == "__main__":
    given = common.arguments()
    needles = [bytes.fromhex(needle) for needle in given["needles"]]
    # Those that are there are not new.
    known, layout = {}, guess()
    for pid in family():
        target = Target(pid)
        target.done = True
        known[pid] = target
    open(given["begun"], "w").close()
    hits, kills, opened, last = 0, 0, {}, 0.0
    stopped = False
    while not stopped or any(target.memory and not target.done for target in known.values()):
        stopped = stopped or os.path.exists(given["stop"])
        for pid in family():
            if pid not in known and not stopped:
                known[pid] = Target(pid)
        for pid, target in known.items():
            if target.done:
                continue
            if target.memory is None:
                hits += target.attack()
            elif target.settled():
                hits += target.look()
                opened[target.title] = opened.get(target.title, 0) + 1
                os.close(target.memory)
                target.done = True
        # Pauses of different lengths meet every moment of a start.
        if given["kill"] and not stopped and time.monotonic() - last > (kills % 8) * 0.02:
            kills += kill()
            last = time.monotonic()
    common.report(hits=hits, opened=opened, kills=kills, seen=len(known))

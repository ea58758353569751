"""Tries every door to the memory and the descriptors of processes, and searches what it can read.

{"processes": {NAME: PID}, "needles": [HEX]} -> {NAME: {"opened": [DOOR], "hits": N}}
"""

import os

import common


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags))


def listed(path):
    names = os.listdir(path)
    os.readlink(f"{path}/{names[0]}")


def read(path):
    with open(path, "rb") as file:
        file.read()


def traced(pid):
    common.ptrace(common.PTRACE_ATTACH, pid)
    os.waitpid(pid, 0x40000000)  # __WALL
    common.ptrace(common.PTRACE_DETACH, pid)


def seized(pid):
    common.ptrace(common.PTRACE_SEIZE, pid)
    # The end of the thread that traces ends this, too.


def descriptor(pid):
    os.close(common.pidfd_getfd(common.pidfd_open(pid), 1))


def read_directly(pid):
    # Where the program lies is not known without /proc/PID/maps; that of another child of the same
    # master is the same.
    failure = None
    for address in addresses:
        try:
            return common.vm_readv(pid, address, 64)
        except OSError as error:
            failure = error
    raise failure


DOORS = {
    "mem": lambda pid: opened(f"/proc/{pid}/mem"),
    "mem for writing": lambda pid: opened(f"/proc/{pid}/mem", os.O_RDWR),
    "maps": lambda pid: read(f"/proc/{pid}/maps"),
    "map_files": lambda pid: listed(f"/proc/{pid}/map_files"),
    "environ": lambda pid: read(f"/proc/{pid}/environ"),
    "fd": lambda pid: listed(f"/proc/{pid}/fd"),
    "cwd": lambda pid: os.readlink(f"/proc/{pid}/cwd"),
    "auxv": lambda pid: read(f"/proc/{pid}/auxv"),
    "process_vm_readv": read_directly,
    "pidfd_getfd": descriptor,
    "PTRACE_ATTACH": traced,
    "PTRACE_SEIZE": seized,
}


def attack(pid, needles):
    doors = []
    for name, door in DOORS.items():
        try:
            door(pid)
            doors.append(name)
        except OSError:
            pass
    hits = 0
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        hits = common.count(memory, common.regions(pid), needles)
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
        hits += sum(environment.count(needle) for needle in needles)
    except OSError:
        pass
    return {"opened": doors, "hits": hits}


if __name__ == "__main__":
    given = common.arguments()
    needles = [bytes.fromhex(needle) for needle in given["needles"]]
    processes = given["processes"]
    addresses = set()
    for pid in processes.values():
        try:
            addresses.update(region.start for region in common.regions(pid)[:40:8])
        except OSError:
            pass
    addresses = sorted(addresses) or [0x400000]
    common.report(**{name: attack(pid, needles) for name, pid in processes.items()})

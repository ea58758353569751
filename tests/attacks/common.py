"""What several attacks need: processes of an nginx, and the system calls that Python does not have."""

import ctypes
import json
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.syscall.restype = ctypes.c_long

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 16, 17, 0x4206
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def report(**result):
    print(json.dumps(result))


def arguments():
    """The argument of the program, a JSON object."""
    return json.loads(sys.argv[1])


def checked(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def ptrace(request, pid, address=0, data=0):
    return checked(LIBC.ptrace(request, pid, address, data))


def pidfd_open(pid):
    return checked(LIBC.syscall(PIDFD_OPEN, pid, 0))


def pidfd_getfd(pidfd, number):
    return checked(LIBC.syscall(PIDFD_GETFD, pidfd, number, 0))


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def vm_readv(pid, address, length):
    """Reads the memory of a process without a file."""
    buffer = ctypes.create_string_buffer(length)
    ours = Iovec(ctypes.cast(buffer, ctypes.c_void_p), length)
    theirs = Iovec(address, length)
    call = LIBC.process_vm_readv
    call.restype = ctypes.c_ssize_t
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p,
                     ctypes.c_ulong, ctypes.c_ulong]
    read = checked(call(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
    return buffer.raw[:read]


class Region:
    """A line of /proc/PID/maps."""

    def __init__(self, line):
        fields = line.split(None, 5)
        self.start, self.end = (int(part, 16) for part in fields[0].split("-"))
        self.mode = fields[1]
        self.name = fields[5].strip() if len(fields) > 5 else ""

    @property
    def length(self):
        return self.end - self.start

    @property
    def range(self):
        return f"{self.start:x}-{self.end:x}"


def regions(pid):
    with open(f"/proc/{pid}/maps") as file:
        return [Region(line) for line in file]


def count(memory, maps, needles):
    """How often the needles are in the memory that a descriptor of /proc/PID/mem shows."""
    hits = 0
    for region in maps:
        if region.mode[0] != "r" or region.name in ("[vvar]", "[vsyscall]"):
            continue
        try:
            content = os.pread(memory, region.length, region.start)
        except OSError:
            continue
        hits += sum(content.count(needle) for needle in needles)
    return hits


def children(pid):
    """The children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""

"""Has another process make a system call.

{"process": PID, "call": NAME, "arguments": [N]} -> {"result": N}, an error as a negative number
"""

import ctypes
import os
import platform

import common

PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS = 9, 12, 13
CALLS = {"mprotect": 10, "setuid": 105, "setgid": 106, "prctl": 157}
ALL = 0x40000000  # __WALL


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
        "fs_base gs_base ds es fs gs").split()]


def instruction(pid):
    """Where the process has an instruction `syscall`."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for region in common.regions(pid):
            if "x" in region.mode and region.name.startswith("/"):
                position = os.pread(memory.fileno(), region.length, region.start).find(b"\x0f\x05")
                if position >= 0:
                    return region.start + position
    raise OSError("no instruction")


def result_of(pid, name, arguments):
    """The result as the kernel gives it, -errno included."""
    if platform.machine() != "x86_64":
        raise OSError("the registers of this machine are not known")
    at = instruction(pid)
    common.ptrace(common.PTRACE_ATTACH, pid)
    os.waitpid(pid, ALL)
    before, registers = Registers(), Registers()
    try:
        common.ptrace(PTRACE_GETREGS, pid, 0, ctypes.addressof(before))
        ctypes.memmove(ctypes.byref(registers), ctypes.byref(before), ctypes.sizeof(before))
        # No call that was interrupted is made again now.
        registers.orig_rax = ctypes.c_ulong(-1).value
        registers.rax, registers.rip = CALLS[name], at
        for register, value in zip(("rdi", "rsi", "rdx"), arguments):
            setattr(registers, register, value)
        common.ptrace(PTRACE_SETREGS, pid, 0, ctypes.addressof(registers))
        common.ptrace(PTRACE_SINGLESTEP, pid)
        os.waitpid(pid, ALL)
        common.ptrace(PTRACE_GETREGS, pid, 0, ctypes.addressof(registers))
        common.ptrace(PTRACE_SETREGS, pid, 0, ctypes.addressof(before))
    finally:
        common.ptrace(common.PTRACE_DETACH, pid)
    return ctypes.c_long(registers.rax).value


def call(pid, name, *arguments):
    """The same with errors as exceptions."""
    result = result_of(pid, name, arguments)
    if result < 0:
        raise OSError(-result, os.strerror(-result))


if __name__ == "__main__":
    given = common.arguments()
    common.report(result=result_of(given["process"], given["call"], given["arguments"]))

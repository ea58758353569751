"""Forges messages of nginx's channel, through the sockets that a worker holds.

{"worker": PID, "slots": [N], "commands": [N]} -> {"sockets": N, "sent": N}
"""

import array
import os
import socket
import stat
import struct

import common

OPEN_CHANNEL = 1


def sockets(worker):
    """The worker's ends of socket pairs."""
    pidfd, found = common.pidfd_open(worker), []
    for name in os.listdir(f"/proc/{worker}/fd"):
        try:
            number = common.pidfd_getfd(pidfd, int(name))
        except OSError:
            continue
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            os.close(number)
            continue
        end = socket.socket(fileno=number)
        # No name on either side: a pair.
        pair = end.family == socket.AF_UNIX and not end.getsockname()
        if pair:
            end.setblocking(False)
            found.append(end)
        else:
            end.close()
    return found


def send(end, command, slot):
    """An ngx_channel_t: command, pid, slot, descriptor."""
    message = struct.pack("@Liqi4x", command, 0x41414141, slot, 0x41414141)
    rights = []
    if command == OPEN_CHANNEL:
        numbers = array.array("i", [end.fileno()])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
    try:
        end.sendmsg([message], rights)
        return 1
    except OSError:
        # Full, or its reader has just died.
        return 0


if __name__ == "__main__":
    given = common.arguments()
    ends = sockets(given["worker"])
    sent = 0
    for command in given["commands"]:
        for slot in given["slots"]:
            sent += sum(send(end, command, slot) for end in ends)
    common.report(sockets=len(ends), sent=sent)

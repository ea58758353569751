"""Lists, reads, changes and makes files of a state path.

{"state": PATH, "files": [NAME], "directories": [NAME]} -> {"opened": [WHAT]}
"""

import os

import common


def write(path):
    os.close(os.open(path, os.O_WRONLY))


def make(path):
    os.close(os.open(f"{path}/forged", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    os.unlink(f"{path}/forged")


def make_directory(path):
    os.mkdir(f"{path}/forged")
    os.rmdir(f"{path}/forged")


def make_link(path):
    os.symlink("/etc/passwd", f"{path}/forged")
    os.unlink(f"{path}/forged")


def moved(path):
    """Puts it aside and back."""
    os.rename(path, f"{path}~")
    os.rename(f"{path}~", path)


def linked(path):
    os.link(path, f"{path}~")
    os.unlink(f"{path}~")


ON_ALL = {
    "stat": os.lstat,
    "read": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "chmod": lambda path: os.chmod(path, 0o777),
    "times": os.utime,
    "rename": moved,
}
ON_FILES = {"write": write, "hard link": linked}
ON_DIRECTORIES = {
    "list": os.listdir,
    "create": make,
    "mkdir": make_directory,
    "symlink": make_link,
}


def attack(name, doors):
    path = os.path.join(given["state"], name) if name else given["state"]
    for what, door in doors.items():
        # Everybody may look at the path itself.
        if not name and what == "stat":
            continue
        try:
            door(path)
            opened.append(f"{what} {name}")
        except OSError:
            pass


if __name__ == "__main__":
    given, opened = common.arguments(), []
    for name in given["files"]:
        attack(name, ON_ALL | ON_FILES)
    for name in given["directories"]:
        attack(name, ON_ALL | ON_DIRECTORIES)
    common.report(opened=opened)

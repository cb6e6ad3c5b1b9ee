"""Becomes a server that cannot outlive the process that started it.

Run as a script by `ledger.embedded.process`, with nothing but the standard library:

    python -I -S launcher.py <parent pid> <death signal> <uid> <gid> <program> [argument]...

It gives up root (Postgres refuses to run as root), asks the Linux kernel to send the death signal
when the parent is gone, however it went, and then replaces itself with the program, so that the
server keeps this process's id. It is a script of its own because code between fork and exec inside
a threaded parent may deadlock, and because root must load Python before it gives up root: the
interpreter may lie in a folder that only root can read.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
CANNOT_EXECUTE = 126  # what a shell answers when it found a command and could not run it


def forget_python() -> None:
    """Set back the signals that Python handles or ignores: the program must not inherit an ignored one, and
    a death signal that comes just before the program does must not be lost in a handler of Python's."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def give_up_root(uid: int, gid: int) -> None:
    """Become `uid` and `gid` for good, without supplementary groups; does nothing unless root."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process when `parent` ends.

    Linux alone has this. Changing the user clears it, so it comes after `give_up_root`; the check
    afterwards catches a parent that ended before the kernel was asked. prctl(2).
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        sys.exit(0)


def main() -> None:
    """Do as the module says; on failure say why on standard error, which is the server's log."""
    parent, death_signal, uid, gid = map(int, sys.argv[1:5])
    command = sys.argv[5:]
    try:
        os.umask(0o077)
        forget_python()
        give_up_root(uid, gid)
        die_with_parent(parent, death_signal)
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr)  # noqa: T201 - the log
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main()

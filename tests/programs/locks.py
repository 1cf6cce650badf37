#!/usr/bin/python3
"""locks.py KIND try|hold|count NAME [FOLDER TIMES] - locks of Python's libraries.

  try NAME                  status 0 when it was free, 1 and "held" when it was not
  hold NAME                 waits, prints "held", holds it until its standard input ends
  count NAME FOLDER TIMES   adds to FOLDER/counter under the lock, as increment.sh does

KIND names the library and its kind of lock. Each is used as its own documentation
shows; only "held" as the library itself tells it counts as held.
"""
import os
import sys
import time


class Held(Exception):
    pass


class FileLock:
    """python3-filelock: `timeout` 0 tries once."""

    def __init__(self, kind, name):
        import filelock

        self.held = filelock.Timeout
        self.lock = {"soft": filelock.SoftFileLock, "unix": filelock.UnixFileLock}[kind](name + ".lock")

    def take(self, wait):
        try:
            self.lock.acquire(timeout=60 if wait else 0, poll_interval=0.005)
        except self.held as held:
            raise Held() from held

    def give(self):
        self.lock.release()


class LockFile:
    """python3-lockfile: its four kinds that lock by creating a name."""

    def __init__(self, kind, name):
        import lockfile
        import lockfile.linklockfile
        import lockfile.mkdirlockfile
        import lockfile.pidlockfile
        import lockfile.symlinklockfile

        self.held = (lockfile.AlreadyLocked, lockfile.LockTimeout)
        self.lock = {
            "mkdir": lockfile.mkdirlockfile.MkdirLockFile,
            "link": lockfile.linklockfile.LinkLockFile,
            "symlink": lockfile.symlinklockfile.SymlinkLockFile,
            "pid": lockfile.pidlockfile.PIDLockFile,
        }[kind](name)

    def take(self, wait):
        # It sleeps for a tenth of its time-out between two attempts.
        end = time.monotonic() + 60
        while True:
            try:
                return self.lock.acquire(timeout=0)
            except self.held as held:
                if not wait or time.monotonic() > end:
                    raise Held() from held
            except FileNotFoundError:
                # SymlinkLockFile reads who it is that holds the lock, and does not
                # expect that to be over by then: on every file system.
                if not wait:
                    raise
            time.sleep(0.005)

    def give(self):
        self.lock.release()


class Fasteners:
    """python3-fasteners: fcntl.lockf over the whole file."""

    def __init__(self, _, name):
        import fasteners

        self.lock = fasteners.InterProcessLock(name)

    def take(self, wait):
        if not self.lock.acquire(blocking=wait, timeout=60 if wait else None, max_delay=0.01, delay=0.005):
            raise Held()

    def give(self):
        self.lock.release()


class FastenersShared:
    """python3-fasteners' lock for readers and writers, as a writer."""

    def __init__(self, _, name):
        import fasteners

        self.lock = fasteners.InterProcessReaderWriterLock(name)

    def take(self, wait):
        if not self.lock.acquire_write_lock(blocking=wait, timeout=60 if wait else None, max_delay=0.01, delay=0.005):
            raise Held()

    def give(self):
        self.lock.release_write_lock()


class Mailbox:
    """Python's own mailbox: fcntl.lockf on the mailbox, and NAME.lock beside it by link."""

    def __init__(self, _, name):
        import mailbox

        self.held = mailbox.ExternalClashError
        self.box = mailbox.mbox(name)

    def take(self, wait):
        end = time.monotonic() + 60
        while True:
            try:
                return self.box.lock()
            except self.held as held:
                if not wait or time.monotonic() > end:
                    raise Held() from held
            time.sleep(0.005)

    def give(self):
        self.box.unlock()


class Mercurial:
    """Mercurial's lock: a symlink whose text names the holder."""

    def __init__(self, _, name):
        from mercurial import error, lock, vfs

        self.held = error.LockHeld
        folder, base = os.path.split(name.encode())
        self.new = lambda: lock.lock(vfs.vfs(folder), base, timeout=0)

    def take(self, wait):
        end = time.monotonic() + 60
        while True:
            try:
                self.lock = self.new()
                return
            except self.held as held:
                if not wait or time.monotonic() > end:
                    raise Held() from held
            time.sleep(0.005)

    def give(self):
        self.lock.release()


class Borg:
    """borg's lock: a directory with its holder's name, moved into place, and a roster."""

    def __init__(self, _, name):
        from borg import locking

        self.held = locking.LockTimeout
        self.new = lambda wait: locking.Lock(name, exclusive=True, sleep=0.01, timeout=60 if wait else 0)

    def take(self, wait):
        self.lock = self.new(wait)
        try:
            self.lock.acquire()
        except self.held as held:
            raise Held() from held

    def give(self):
        self.lock.release()


KINDS = {
    "filelock": FileLock,
    "lockfile": LockFile,
    "fasteners": Fasteners,
    "fasteners-shared": FastenersShared,
    "mailbox": Mailbox,
    "mercurial": Mercurial,
    "borg": Borg,
}


def read(path):
    with open(path) as file:
        return file.read().strip()


def write(path, what):
    with open(path, "w") as file:
        file.write("%s\n" % what)


def increment(folder):
    """As increment.sh: who is inside must be alone from the first line to the last."""
    me = str(os.getpid())
    inside, counter = folder + "/inside", folder + "/counter"
    found = read(inside)
    if found:
        sys.exit("%s is inside together with %s" % (found, me))
    write(inside, me)
    number = int(read(counter))
    time.sleep(0.001)
    write(counter, number + 1)
    found = read(inside)
    if found != me:
        sys.exit("%s came inside to %s" % (found, me))
    write(inside, "")


def main(kind, action, name, folder=None, times=0):
    library, _, variant = kind.partition(":")
    lock = KINDS[library](variant, name)
    if action == "count":
        for _ in range(int(times)):
            lock.take(True)
            increment(folder)
            lock.give()
        return
    try:
        lock.take(action == "hold")
    except Held:
        print("held")
        sys.exit(1)
    if action == "hold":
        print("held", flush=True)
        sys.stdin.read()
    lock.give()


main(*sys.argv[1:])

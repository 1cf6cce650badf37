#!/usr/bin/python3
"""flock_random.py A B SECONDS SEED - locks of one file by chance, and every grant looked at.

Processes on the mounts A and B lock the file with flock(2), fcntl(2) and open file
descriptions, try, wait, are interrupted, convert, close, and are killed. Each writes
down what it has, in memory that all of them share, after it was granted and until
before it gives it back: so whenever two of these exclude each other, one of them was
granted wrongly. Tells its cases as flock_cases.py does.
"""
import mmap
import os
import random
import signal
import struct
import sys
import time
from fcntl import F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

from flock_cases import EX_NB, File, WHOLE, check, interrupt, same

WORKERS = 12
FLOCK, POSIX, OFD = 1, 2, 3
# What a worker may have at a time, one of each: its kind, and which of its files it is taken by.
HOLDS = [(FLOCK, 0), (FLOCK, 1), (POSIX, 0), (OFD, 2)]
WRONG, STRANGE = 3, 4


class Grants:
    """What everybody has: for each worker and hold the kind (0: nothing), exclusive, start, end, owner."""

    SIZE = 40

    def __init__(self):
        self.memory = mmap.mmap(-1, WORKERS * len(HOLDS) * self.SIZE + WORKERS * 8)

    def put(self, worker, hold, kind, *rest):
        """The kind comes last: whoever reads it finds the rest there."""
        place = (worker * len(HOLDS) + hold) * self.SIZE
        struct.pack_into("4q", self.memory, place + 8, *rest)
        struct.pack_into("q", self.memory, place, kind)

    def clear(self, worker, hold):
        struct.pack_into("q", self.memory, (worker * len(HOLDS) + hold) * self.SIZE, 0)

    def clear_all(self, worker):
        for hold in range(len(HOLDS)):
            self.clear(worker, hold)

    def get(self, worker, hold):
        return struct.unpack_from("5q", self.memory, (worker * len(HOLDS) + hold) * self.SIZE)

    def count(self, worker):
        place = WORKERS * len(HOLDS) * self.SIZE + worker * 8
        struct.pack_into("q", self.memory, place, struct.unpack_from("q", self.memory, place)[0] + 1)

    def counts(self):
        return struct.unpack_from("%dq" % WORKERS, self.memory, WORKERS * len(HOLDS) * self.SIZE)

    def contradiction(self, worker, hold, mounts):
        """Another's grant that excludes this one, if there is one."""
        mine = self.get(worker, hold)
        for other in range(WORKERS):
            for its in range(len(HOLDS)):
                if (other, its) == (worker, hold):
                    continue
                grant = self.get(other, its)
                if grant[0] and excludes(mine, grant, worker % mounts == other % mounts) and self.get(other, its) == grant:
                    return other, grant
        return None


def excludes(one, two, same_mount):
    if not one[1] and not two[1]:
        return False
    if not same_mount:
        return True
    if (one[0] == FLOCK) != (two[0] == FLOCK) or one[4] == two[4]:
        return False
    return one[2] <= two[3] and two[2] <= one[3]


class Worker:
    def __init__(self, number, grants, bases, name, seed):
        self.number = number
        self.grants = grants
        self.mounts = len(bases)
        self.path = bases[number % len(bases)] + name
        self.random = random.Random(seed)
        self.files = []
        signal.signal(signal.SIGALRM, interrupt)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.open()

    def open(self):
        for file in self.files:
            file.close()
        self.files = [File(self.path) for _ in range(3)]

    def run(self, end):
        while time.monotonic() < end:
            self.step()

    def step(self):
        hold = self.random.choice([0, 0, 1, 2, 2, 3])
        kind, index = HOLDS[hold]
        file = self.files[index]
        exclusive, tries = self.random.random() < 0.5, self.random.random() < 0.4
        start = self.random.randrange(20)
        length = self.random.randrange(1, 20)
        held = self.grants.get(self.number, hold)[0]
        # Whoever converts a flock may lose it on the way; a range's old part would stay.
        self.grants.clear(self.number, hold)
        if held and kind != FLOCK:
            give_back(kind, file)
        result = self.ask(kind, file, exclusive, tries, start, length)
        if result == "EINTR" or result == "EAGAIN" or result == "EDEADLK":
            give_back(kind, file)
            return
        if result != "ok":
            print("# %s was told %s" % (HOLDS[hold], result), flush=True)
            os._exit(STRANGE)
        owner = self.number * 10 + (hold if kind != POSIX else 9)
        self.grants.put(self.number, hold, kind, int(exclusive), start, start + length - 1, owner)
        self.grants.count(self.number)
        self.look(hold)
        time.sleep(self.random.random() * 0.004)
        self.look(hold)
        self.go_on(hold, kind, file)

    def ask(self, kind, file, exclusive, tries, start, length):
        if not tries:
            signal.setitimer(signal.ITIMER_REAL, self.random.random() * 0.3 + 0.005)
        if kind == FLOCK:
            result = file.flock((LOCK_EX if exclusive else LOCK_SH) | (LOCK_NB if tries else 0))
        else:
            command = {POSIX: (F_SETLKW, F_SETLK), OFD: (F_OFD_SETLKW, F_OFD_SETLK)}[kind][tries]
            result = file.lock(F_WRLCK if exclusive else F_RDLCK, start, length, command)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return result

    def look(self, hold):
        found = self.grants.contradiction(self.number, hold, self.mounts)
        if found:
            print("# worker %d has %s while worker %d has %s" % (self.number, self.grants.get(self.number, hold), *found), flush=True)
            os._exit(WRONG)

    def go_on(self, hold, kind, file):
        if self.random.random() < 0.7:
            self.grants.clear(self.number, hold)
            give_back(kind, file)
        elif self.random.random() < 0.2:
            self.grants.clear_all(self.number)
            self.open()


def give_back(kind, file):
    result = file.flock(LOCK_UN) if kind == FLOCK else file.lock(F_UNLCK, *WHOLE, F_SETLK if kind == POSIX else F_OFD_SETLK)
    if result != "ok":
        print("# an unlock was told %s" % result, flush=True)
        os._exit(STRANGE)


class Run:
    def __init__(self, bases, seconds, seed):
        self.bases = bases
        self.name = "random.%d" % os.getpid()
        self.random = random.Random(seed)
        self.grants = Grants()
        self.end = time.monotonic() + seconds
        self.workers = {}
        self.kills = 0
        self.failed = []

    def start(self, number):
        seed = self.random.getrandbits(60)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                Worker(number, self.grants, self.bases, self.name, seed).run(self.end)
                self.grants.clear_all(number)
                os._exit(0)
            except BaseException as error:
                print("# worker %d: %r" % (number, error), flush=True)
            finally:
                os._exit(STRANGE)
        self.workers[pid] = number

    def kill_one(self):
        """What it has is crossed out first: it must not go on meanwhile."""
        pid = self.random.choice(sorted(self.workers))
        number = self.workers[pid]
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.grants.clear_all(number)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.kills += 1
            self.start(number)
        elif status:
            self.failed.append(os.waitstatus_to_exitcode(status))
        del self.workers[pid]

    def run(self):
        for number in range(WORKERS):
            self.start(number)
        while time.monotonic() < self.end and not self.failed:
            time.sleep(0.15)
            self.kill_one()
        for pid in self.workers:
            if self.failed:
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if status and not self.failed:
                self.failed.append(os.waitstatus_to_exitcode(status))

    def tell(self):
        same("nothing was granted that excludes what another has, and no other errno told", self.failed, [])
        counts = self.grants.counts()
        check("%d grants: each of the %d processes had some" % (sum(counts), WORKERS), min(counts) > 0, counts)
        check("%d of them were killed and replaced" % self.kills, self.kills > 0)
        for base in self.bases:
            file = File(base + self.name)
            same("all that ended has left nothing", [file.flock(EX_NB), file.lock(F_WRLCK, *WHOLE)], ["ok", "ok"])
            file.flock(LOCK_UN)
            file.lock(F_UNLCK, *WHOLE)
            file.close()


def main(a, b, seconds, seed):
    print("# seed %s" % seed, flush=True)
    run = Run([a + "/", b + "/"], float(seconds), int(seed))
    run.run()
    run.tell()
    print("end")


main(*sys.argv[1:])

#!/usr/bin/python3
"""flock_cases.py GROUP A B [MORE] - locks of files in two mounts of one fleet.

Each GROUP (a function below) takes, tries, waits for and loses locks with several
processes on the mounts A and B, which stand for two hosts, and tells each case as a
line of TAP without a number. The last line is "end"; without it, it ended early.

A call gives "ok", the name of its errno, or "EINTR" when a signal has ended it,
which Python itself would hide. Nothing here asserts a speed: where a moment is
promised, SOON is allowed, and what it took is told.
"""
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from fcntl import F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

SOON = 2.0  # where some 100 ms are promised, on a busy machine
LIMIT = 30.0  # what has not come by then never does
EX_NB = LOCK_EX | LOCK_NB
SH_NB = LOCK_SH | LOCK_NB
WHOLE = (0, 0)
SIZE = 4096  # of what processes tell each other


# ---- telling ----


def check(description, good, *got):
    print("%sok - %s" % ("" if good else "not ", description))
    if not good:
        print("# got %s" % ", ".join(repr(one) for one in got))
    sys.stdout.flush()


def same(description, got, wanted):
    check(description, got == wanted, got, "instead of", wanted)


def soon(description, seconds, got="ok", wanted="ok"):
    """The bound is a promise's; the time is told, whatever it is."""
    check("%s (%d ms)" % (description, seconds * 1000), got == wanted and seconds <= SOON, got, "instead of", wanted)


def timed(call, *arguments):
    start = time.monotonic()
    result = call(*arguments)
    return time.monotonic() - start, result


def until(condition, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


# ---- files ----


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted()


def name_of(number):
    """(Python knows this one by another name.)"""
    return "EDEADLK" if number == errno.EDEADLK else errno.errorcode[number]


def result_of(call, *arguments):
    try:
        call(*arguments)
    except Interrupted:
        return "EINTR"
    except OSError as error:
        return name_of(error.errno)
    return "ok"


class File:
    """An open file, and calls on it."""

    def __init__(self, path, flags=os.O_RDWR | os.O_CREAT):
        self.fd = os.open(path, flags, 0o666)

    def flock(self, operation):
        return result_of(fcntl.flock, self.fd, operation)

    def lock(self, kind, start, length, command=F_SETLK):
        return result_of(fcntl.fcntl, self.fd, command, struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0))

    def holder(self, kind, start, length, command=F_GETLK):
        """What is in the way, [type, start, length, pid], or "free"."""
        question = struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0)
        try:
            kind, _, start, length, pid = struct.unpack("hhqqi0q", fcntl.fcntl(self.fd, command, question))
        except OSError as error:
            return name_of(error.errno)
        return "free" if kind == F_UNLCK else [{F_RDLCK: "read", F_WRLCK: "write"}[kind], start, length, pid]

    def read(self):
        return result_of(os.pread, self.fd, 1, 0)

    def write(self):
        return result_of(os.pwrite, self.fd, b"x", 0)

    def close(self):
        return result_of(os.close, self.fd)


def open_of(path, flags=os.O_RDWR | os.O_CREAT):
    return result_of(lambda: os.close(os.open(path, flags, 0o666)))


# ---- processes ----


class Process:
    """A process that has opened a file, and makes one call after the other when it is told.

    SIGUSR1 interrupts its call; SIGTERM, which on_loss sends, is counted; SIGINT ends it.
    """

    def __init__(self, path):
        self.link, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            # What it inherits would keep files open.
            os.closerange(3, link.fileno())
            os.closerange(link.fileno() + 1, 1024)
            try:
                serve(link, path)
            finally:
                os._exit(1)
        link.close()
        self.link.recv(SIZE)

    def begin(self, call, *arguments):
        """Returns when the call is the next thing that it does."""
        self.link.send(json.dumps([call, arguments]).encode())
        self.link.recv(SIZE)

    def has_come_back(self, limit=0.0):
        return bool(select.select([self.link], [], [], limit)[0])

    def end(self, limit=LIMIT):
        if not self.has_come_back(limit):
            return "waits"
        result = self.link.recv(SIZE)
        return json.loads(result) if result else "gone"

    def do(self, call, *arguments):
        self.begin(call, *arguments)
        return self.end()

    def is_asleep(self):
        with open("/proc/%d/stat" % self.pid) as file:
            return file.read().rpartition(")")[2].split()[0] == "S"

    def waits(self):
        """Whether it has gone to sleep in its call, and stays there."""
        until(lambda: self.is_asleep() or self.has_come_back())
        return not self.has_come_back(0.1)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        return self.status()

    def status(self):
        """Lets it end; who hangs in a call is killed."""
        self.link.shutdown(socket.SHUT_WR)
        if not until(lambda: os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), 10):
            os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def serve(link, path):
    told = []
    signal.signal(signal.SIGUSR1, interrupt)
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    file = File(path)
    calls = {
        "signals": lambda: len(told),
        "other_close": lambda: File(path).close(),
        "exit": lambda: os._exit(0),
        "pid": os.getpid,
    }
    link.send(b"open")
    while True:
        told_to = link.recv(SIZE)
        if not told_to:
            os._exit(0)
        call, arguments = json.loads(told_to)
        link.send(b"begun")
        result = calls[call]() if call in calls else getattr(file, call)(*arguments)
        link.send(json.dumps(result).encode())


class Command:
    """A program, which gets the signals of a terminal as one that a shell has started there."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)

    def waits(self):
        """Whether it has opened the file, and sleeps on it."""
        until(lambda: self.process.poll() is not None or self.sleeps_in_flock())
        time.sleep(0.1)
        return self.process.poll() is None

    def sleeps_in_flock(self):
        pid = self.process.pid
        with open("/proc/%d/stat" % pid) as file:
            asleep = file.read().rpartition(")")[2].split()[0] == "S"
        return asleep and any(True for fd in os.listdir("/proc/%d/fd" % pid) if int(fd) > 2)

    def end(self):
        return self.process.wait(LIMIT)

    def kill(self, number):
        self.process.send_signal(number)
        return self.end()


names = 0


def new_name(group):
    global names
    names += 1
    return "%s.%d.%d" % (group, os.getpid(), names)


# ---- flock ----


def modes(a, b):
    """Who has it, who asks, and where: the whole table."""
    conflicts = {("SH", "SH"): "ok"}
    operations = {"EX": LOCK_EX, "SH": LOCK_SH}
    for where, other in (("A", a), ("B", b)):
        path = new_name("modes")
        for held, operation in operations.items():
            mine, asks = Process(a + path), Process(other + path)
            for asked, question in operations.items():
                same("flock %s in A: it is taken" % held, mine.do("flock", operation), "ok")
                wanted = conflicts.get((held, asked), "EAGAIN")
                same("  %s|NB in %s: %s" % (asked, where, wanted), asks.do("flock", question | LOCK_NB), wanted)
                same("  given back", [asks.do("flock", LOCK_UN), mine.do("flock", LOCK_UN)], ["ok", "ok"])
                mine.do("flock", operation)
                asks.begin("flock", question)
                if wanted == "ok":
                    same("  %s in %s: at once" % (asked, where), asks.end(), "ok")
                    mine.do("flock", LOCK_UN)
                else:
                    check("  %s in %s waits" % (asked, where), asks.waits())
                    mine.do("flock", LOCK_UN)
                    soon("  and has it when it was given back", *timed(asks.end))
                same("  given back", asks.do("flock", LOCK_UN), "ok")
            same("  both end", [mine.status(), asks.status()], [0, 0])
    mine = File(a + path)
    same("LOCK_UN of what is not locked", [mine.flock(LOCK_UN), mine.flock(LOCK_UN | LOCK_NB)], ["ok", "ok"])
    mine.close()
    reader = File(a + path, os.O_RDONLY)
    same("flock needs no right to write", [reader.flock(EX_NB), open_of(b + path), File(b + path).flock(SH_NB)],
         ["ok", "ok", "EAGAIN"])
    reader.close()


def conversions(a, b):
    path = new_name("conversions")
    one, two, other = Process(a + path), Process(a + path), Process(b + path)
    same("EX to SH", [one.do("flock", LOCK_EX), one.do("flock", LOCK_SH)], ["ok", "ok"])
    same("  lets readers in, in A and B", [two.do("flock", SH_NB), other.do("flock", SH_NB)], ["ok", "ok"])
    same("  and no writer", [two.do("flock", EX_NB), other.do("flock", EX_NB)], ["EAGAIN", "EAGAIN"])
    # flock(2): who fails to convert may have lost what it had.
    same("given back", [process.do("flock", LOCK_UN) for process in (one, two, other)], ["ok"] * 3)
    same("SH to EX by who is alone", [one.do("flock", LOCK_SH), one.do("flock", EX_NB)], ["ok", "ok"])
    same("  keeps readers out, in A and B", [two.do("flock", SH_NB), other.do("flock", SH_NB)], ["EAGAIN", "EAGAIN"])
    same("EX again is none", [one.do("flock", LOCK_EX), other.do("flock", SH_NB)], ["ok", "EAGAIN"])
    for where, reader in (("A", two), ("B", other)):
        one.do("flock", LOCK_UN)
        same("SH in A, and in %s" % where, [one.do("flock", LOCK_SH), reader.do("flock", LOCK_SH)], ["ok", "ok"])
        same("  to EX|NB: refused", one.do("flock", EX_NB), "EAGAIN")
        one.do("flock", LOCK_SH)
        one.begin("flock", LOCK_EX)
        check("  to EX: waits", one.waits())
        same("  until the other reader goes", [reader.do("flock", LOCK_UN), one.end()], ["ok", "ok"])
        same("  and then keeps it out", reader.do("flock", SH_NB), "EAGAIN")
    one.do("flock", LOCK_UN)
    same("two that convert at once", [one.do("flock", LOCK_SH), other.do("flock", LOCK_SH)], ["ok", "ok"])
    one.begin("flock", LOCK_EX)
    other.begin("flock", LOCK_EX)
    first, second = (one, other) if until(lambda: one.has_come_back() or other.has_come_back()) and one.has_come_back() \
        else (other, one)
    same("  do not stand in each other's way for ever", first.end(), "ok")
    check("  the second waits", second.waits())
    same("  until the first goes", [first.do("flock", LOCK_UN), second.end()], ["ok", "ok"])
    same("all end", [process.status() for process in (one, two, other)], [0, 0, 0])


def interruptions(a, b):
    for where, base, other in (("the same mount", a, a), ("the other mount", a, b)):
        path = new_name("interruptions")
        holder, waiter = Process(other + path), Process(base + path)
        same("held in %s" % where, holder.do("flock", LOCK_EX), "ok")
        for what, call in (("flock", ("flock", LOCK_EX)), ("flock SH", ("flock", LOCK_SH))):
            interrupted(what, waiter, call)
        holder.do("flock", LOCK_UN)
        same("a range is held there", holder.do("lock", F_WRLCK, 0, 10), "ok")
        interrupted("F_SETLKW", waiter, ("lock", F_WRLCK, 5, 1, F_SETLKW))
        interrupted("F_OFD_SETLKW", waiter, ("lock", F_RDLCK, 5, 1, F_OFD_SETLKW))
        same("given back", holder.do("lock", F_UNLCK, *WHOLE), "ok")
        same("nothing is left of them", [waiter.do("flock", EX_NB), waiter.do("flock", LOCK_UN)], ["ok", "ok"])
        programs(base + path, holder)
        killed(path, base, other, holder, waiter)
    restarted(a, b)


def interrupted(what, waiter, call):
    waiter.begin(*call)
    check("%s waits" % what, waiter.waits())
    os.kill(waiter.pid, signal.SIGUSR1)
    soon("  a signal ends it: EINTR", *timed(waiter.end), "EINTR")


def programs(path, holder):
    """flock(1), as scripts use it."""
    holder.do("flock", LOCK_EX)
    for what, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM), ("kill -9", signal.SIGKILL)):
        command = Command("flock", path, "true")
        check("flock(1) waits", command.waits())
        soon("  %s ends it" % what, *timed(command.kill, number), -number)
    seconds, status = timed(subprocess.call, ["flock", "-w", "0.3", path, "true"])
    check("flock -w 0.3 gives up (%d ms)" % (seconds * 1000), status == 1 and 0.3 <= seconds <= 0.3 + SOON, status)
    soon("flock -n gives up", *timed(subprocess.call, ["flock", "-n", path, "true"]), 1)
    same("the holder has noticed nothing", holder.do("flock", LOCK_UN), "ok")
    same("and then it is free", subprocess.call(["flock", "-n", path, "true"]), 0)


def killed(path, base, other, holder, waiter):
    """kill -9 of who waits, and of who holds."""
    holder.do("flock", LOCK_EX)
    waiter.begin("flock", LOCK_EX)
    check("a process waits", waiter.waits())
    seconds, status = timed(waiter.kill)
    soon("  kill -9 ends it", seconds, status, -signal.SIGKILL)
    waiter = Process(base + path)
    waiter.begin("flock", LOCK_EX)
    check("another waits", waiter.waits())
    start = time.monotonic()
    holder.kill()
    result = waiter.end()
    soon("  kill -9 of the holder: it is free", time.monotonic() - start, result)
    same("  and given back", waiter.do("flock", LOCK_UN), "ok")
    holder = Process(other + path)
    holder.do("lock", F_WRLCK, 0, 10)
    waiter.begin("lock", F_RDLCK, 0, 1, F_SETLKW)
    check("a range: another waits", waiter.waits())
    start = time.monotonic()
    holder.kill()
    result = waiter.end()
    soon("  kill -9 of the holder: it is free", time.monotonic() - start, result)
    same("  the end", waiter.status(), 0)


def restarted(a, b):
    """A signal whose handler returns, and that restarts calls, does not end the wait; faster than masters answer, it
    keeps nobody out."""
    path = new_name("storm")
    libc = ctypes.CDLL(None, use_errno=True)
    count = [0]

    def counts(*_):
        count[0] += 1

    def call(function, *arguments):
        return "ok" if function(*arguments) == 0 else name_of(ctypes.get_errno())

    file = File(a + path)
    lock = ctypes.create_string_buffer(struct.pack("hhqqi0q", F_WRLCK, os.SEEK_SET, 0, 0, 0))
    free = ctypes.create_string_buffer(struct.pack("hhqqi0q", F_UNLCK, os.SEEK_SET, 0, 0, 0))
    signal.signal(signal.SIGALRM, counts)
    for restarts in (False, True):
        signal.siginterrupt(signal.SIGALRM, not restarts)
        said = {}
        for i in range(150):
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            results = [call(libc.flock, file.fd, EX_NB if i % 2 else LOCK_EX),
                       call(libc.fcntl, file.fd, F_SETLK if i % 2 else F_SETLKW, lock)]
            gave_back = [call(libc.flock, file.fd, LOCK_UN), call(libc.fcntl, file.fd, F_SETLK, free)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            for result in results + ["UN " + result for result in gave_back]:
                said[result] = said.get(result, 0) + 1
        how = "signals each 0.5 ms (%s SA_RESTART)" % ("with" if restarts else "without")
        check("%s: locks come through" % how, said.get("ok", 0) >= 150, said)
        check("  unlocks always", said.get("UN ok") == 300, said)
        check("  and no other answer is given", set(said) <= {"ok", "EINTR", "UN ok"}, said)
    check("there were many (%d)" % count[0], count[0] >= 50, count)
    file.close()
    same("nothing is left of it", File(b + path).flock(EX_NB), "ok")


# ---- fcntl ----


def ranges(a, b):
    path = new_name("ranges")
    one, two, three = Process(a + path), Process(a + path), Process(a + path)
    other = Process(b + path)
    pids = [process.do("pid") for process in (one, two, three)]

    def sees(description, wanted, kind=F_WRLCK, start=0, length=0, command=F_GETLK):
        same(description, three.do("holder", kind, start, length, command), wanted)

    same("a range to write", one.do("lock", F_WRLCK, 10, 10), "ok")
    same("  others of A: not within", [two.do("lock", kind, start, 1) for kind in (F_RDLCK, F_WRLCK) for start in (10, 19)],
         ["EAGAIN"] * 4)
    same("  but around", [two.do("lock", F_WRLCK, 0, 10), two.do("lock", F_WRLCK, 20, 5)], ["ok", "ok"])
    sees("  F_GETLK: the lowest start first", ["write", 0, 10, pids[1]])
    sees("  F_GETLK: within", ["write", 10, 10, pids[0]], F_RDLCK, 15, 100)
    sees("  F_GETLK: the last", ["write", 20, 5, pids[1]], F_RDLCK, 20, 0)
    sees("  F_GETLK: beyond", "free", F_WRLCK, 25, 0)
    same("  B: nothing at all", [other.do("lock", kind, start, 1) for kind in (F_RDLCK, F_WRLCK) for start in (0, 15, 1000)],
         ["EAGAIN"] * 6)
    same("  one's own are never in the way", one.do("holder", F_WRLCK, 10, 10), "free")
    same("an unlock in the midst splits it", one.do("lock", F_UNLCK, 13, 4), "ok")
    same("  the first and last parts stay", [two.do("lock", F_RDLCK, start, 1) for start in (12, 17)], ["EAGAIN", "EAGAIN"])
    sees("  F_GETLK: the first part", ["write", 10, 3, pids[0]], F_RDLCK, 10, 10)
    sees("  F_GETLK: the hole", "free", F_WRLCK, 13, 4)
    sees("  F_GETLK: the last part", ["write", 17, 3, pids[0]], F_RDLCK, 13, 100)
    same("filled again, it is one", one.do("lock", F_WRLCK, 13, 4), "ok")
    sees("  F_GETLK", ["write", 10, 10, pids[0]], F_RDLCK, 18, 1)
    same("a part of it to read", one.do("lock", F_RDLCK, 12, 2), "ok")
    same("  may be read by others, no more", [two.do("lock", F_RDLCK, 12, 2), two.do("lock", F_WRLCK, 12, 1),
                                              two.do("lock", F_RDLCK, 14, 1)], ["ok", "EAGAIN", "EAGAIN"])
    same("  B: still nothing", other.do("lock", F_RDLCK, 12, 1), "EAGAIN")
    same("  not to be written now", one.do("lock", F_WRLCK, 12, 2), "EAGAIN")
    same("  and it stays as it was", two.do("lock", F_RDLCK, 11, 1), "EAGAIN")
    same("  the other reader goes: it may", [two.do("lock", F_UNLCK, 12, 2), one.do("lock", F_WRLCK, 12, 2)], ["ok", "ok"])
    sees("  and it is one again", ["write", 10, 10, pids[0]], F_RDLCK, 12, 1)
    same("all of one's own", [process.do("lock", F_UNLCK, *WHOLE) for process in (one, two)], ["ok", "ok"])
    sees("  nothing is left", "free")
    same("  B may have it at once", [other.do("lock", F_WRLCK, 5, 1), other.do("lock", F_UNLCK, *WHOLE)], ["ok", "ok"])
    between_mounts(one, two, three, other, sees)
    waits_for_ranges(one, two, other)
    same("all end", [process.status() for process in (one, two, three, other)], [0] * 4)
    open_file_ranges(a, b)


def between_mounts(one, two, three, other, sees):
    same("B writes a range", other.do("lock", F_WRLCK, 100, 1), "ok")
    sees("  F_GETLK in A: the whole file, process 0", ["write", 0, 0, 0], F_RDLCK, 5, 1)
    sees("  F_OFD_GETLK in A: the same, and an open file's have no process", ["write", 0, 0, -1], F_RDLCK, 5, 1, F_OFD_GETLK)
    same("  A: nothing at all", [one.do("lock", kind, start, 1) for kind in (F_RDLCK, F_WRLCK) for start in (0, 100)],
         ["EAGAIN"] * 4)
    same("B reads it", other.do("lock", F_RDLCK, 100, 1), "ok")
    same("  readers in A: any range", [one.do("lock", F_RDLCK, 100, 1), two.do("lock", F_RDLCK, 0, 0)], ["ok", "ok"])
    same("  no writer", [one.do("lock", F_WRLCK, 500, 1), three.do("lock", F_WRLCK, 0, 1)], ["EAGAIN", "EAGAIN"])
    sees("  F_GETLK: those of A first", ["read", 0, 0, two.pid])
    same("  they go", [one.do("lock", F_UNLCK, *WHOLE), two.do("lock", F_UNLCK, *WHOLE)], ["ok", "ok"])
    sees("  F_GETLK: B's", ["read", 0, 0, 0])
    sees("  which is in no reader's way", "free", F_RDLCK)
    same("  and goes", other.do("lock", F_UNLCK, *WHOLE), "ok")
    sees("  nothing", "free")
    same("a read range in A and one in B", [one.do("lock", F_RDLCK, 0, 5), other.do("lock", F_RDLCK, 0, 5)], ["ok", "ok"])
    one.begin("lock", F_WRLCK, 50, 1, F_SETLKW)
    check("  a writer in A waits", one.waits())
    same("  until B has gone", [other.do("lock", F_UNLCK, *WHOLE), one.end()], ["ok", "ok"])
    same("  then B gets nothing", other.do("lock", F_RDLCK, 0, 1), "EAGAIN")
    same("  what was written is given back, what is read stays", one.do("lock", F_UNLCK, 50, 1), "ok")
    same("  and B may read again, not write", [other.do("lock", F_RDLCK, 50, 1), other.do("lock", F_WRLCK, 50, 1)],
         ["ok", "EAGAIN"])
    same("  given back", [process.do("lock", F_UNLCK, *WHOLE) for process in (one, other)], ["ok", "ok"])
    same("flock and fcntl in one mount do not see each other", [one.do("flock", EX_NB), two.do("lock", F_WRLCK, *WHOLE)],
         ["ok", "ok"])
    same("  between mounts they do", [other.do("flock", SH_NB), other.do("lock", F_RDLCK, 0, 1)], ["EAGAIN", "EAGAIN"])
    same("  as long as one of them is there", [one.do("flock", LOCK_UN), other.do("flock", SH_NB)], ["ok", "EAGAIN"])
    same("  then not", [two.do("lock", F_UNLCK, *WHOLE), other.do("flock", EX_NB), two.do("lock", F_RDLCK, 0, 1),
                        other.do("flock", LOCK_UN)], ["ok", "ok", "EAGAIN", "ok"])


def waits_for_ranges(one, two, other):
    same("two ranges in A", [one.do("lock", F_WRLCK, 0, 1), two.do("lock", F_WRLCK, 1, 1)], ["ok", "ok"])
    two.begin("lock", F_WRLCK, 0, 1, F_SETLKW)
    check("  one waits for the other", two.waits())
    soon("  a circle: EDEADLK", *timed(one.do, "lock", F_WRLCK, 1, 1, F_SETLKW), "EDEADLK")
    check("  and the one still waits", two.waits())
    same("  until it is free", [one.do("lock", F_UNLCK, 0, 1), two.end()], ["ok", "ok"])
    other.begin("lock", F_RDLCK, 7, 1, F_SETLKW)
    check("B waits for whatever range", other.waits())
    same("  as long as there is one", [two.do("lock", F_UNLCK, 0, 1), other.has_come_back(0.1)], ["ok", False])
    two.do("lock", F_UNLCK, 1, 1)
    soon("  and no longer", *timed(other.end))
    one.begin("lock", F_WRLCK, 0, 1, F_SETLKW)
    check("A waits for a reader in B", one.waits())
    other.do("lock", F_UNLCK, *WHOLE)
    soon("  and gets it", *timed(one.end))
    same("  given back", one.do("lock", F_UNLCK, *WHOLE), "ok")


def open_file_ranges(a, b):
    path = new_name("ofd")
    one, two, posix, other = File(a + path), File(a + path), File(a + path), Process(b + path)
    same("an open file's range", one.lock(F_WRLCK, 0, 5, F_OFD_SETLK), "ok")
    same("  another of the process: refused", two.lock(F_RDLCK, 0, 5, F_OFD_SETLK), "EAGAIN")
    same("  the process itself, too", posix.lock(F_WRLCK, 4, 1), "EAGAIN")
    same("  beside it", [two.lock(F_WRLCK, 5, 5, F_OFD_SETLK), posix.lock(F_WRLCK, 10, 1)], ["ok", "ok"])
    same("  B: nothing", [other.do("lock", F_RDLCK, 50, 1, F_OFD_SETLK), other.do("lock", F_RDLCK, 50, 1)],
         ["EAGAIN", "EAGAIN"])
    same("  F_OFD_GETLK: no process", two.holder(F_WRLCK, 0, 100, F_OFD_GETLK), ["write", 0, 5, -1])
    same("  split, and lowered", [one.lock(F_UNLCK, 1, 1, F_OFD_SETLK), one.lock(F_RDLCK, 2, 3, F_OFD_SETLK),
                                  two.lock(F_WRLCK, 1, 1, F_OFD_SETLK), two.lock(F_RDLCK, 2, 3, F_OFD_SETLK),
                                  two.lock(F_WRLCK, 2, 1, F_OFD_SETLK), two.lock(F_RDLCK, 0, 1, F_OFD_SETLK)],
         ["ok", "ok", "ok", "ok", "EAGAIN", "EAGAIN"])
    copy = os.dup(one.fd)
    one.close()
    same("one of two descriptors is closed: it stays", two.lock(F_RDLCK, 0, 1, F_OFD_SETLK), "EAGAIN")
    os.close(copy)
    check("the last one is: it goes", until(lambda: two.lock(F_WRLCK, 0, 5, F_OFD_SETLK) == "ok", SOON))
    posix.close()
    same("another file of the process is closed: POSIX' ranges go, an open file's stay",
         [two.holder(F_WRLCK, 10, 1, F_OFD_GETLK), other.do("lock", F_RDLCK, 0, 1)], ["free", "EAGAIN"])
    two.close()
    check("all is closed: B may", until(lambda: other.do("lock", F_WRLCK, 0, 1) == "ok", SOON))
    same("  and gives it back", other.do("lock", F_UNLCK, *WHOLE), "ok")
    open_file_circle(a + path)
    same("  the end", other.status(), 0)


def open_file_circle(path):
    """No deadlock is found among open files: the same as on a local file system."""
    one, two = Process(path), Process(path)
    same("two open files' ranges", [one.do("lock", F_WRLCK, 0, 1, F_OFD_SETLK), two.do("lock", F_WRLCK, 1, 1, F_OFD_SETLK)],
         ["ok", "ok"])
    one.begin("lock", F_WRLCK, 1, 1, F_OFD_SETLKW)
    check("  one waits", one.waits())
    two.begin("lock", F_WRLCK, 0, 1, F_OFD_SETLKW)
    check("  a circle is no EDEADLK", two.waits())
    os.kill(two.pid, signal.SIGUSR1)
    same("  a signal ends it", [two.end(), two.do("lock", F_UNLCK, 1, 1, F_OFD_SETLK), one.end()], ["EINTR", "ok", "ok"])
    same("  both end", [one.status(), two.status()], [0, 0])


# ---- the end of a lock ----


def ends(a, b):
    holds = {
        "flock": [("flock", LOCK_EX)],
        "a range": [("lock", F_WRLCK, 3, 4)],
        "an open file's range": [("lock", F_WRLCK, 3, 4, F_OFD_SETLK)],
        "all of them": [("flock", LOCK_EX), ("lock", F_WRLCK, 3, 4), ("lock", F_WRLCK, 30, 4, F_OFD_SETLK)],
    }
    finishes = {"close": lambda process: process.do("close"), "exit": lambda process: process.do("exit"),
                "kill -9": lambda process: process.kill()}
    for what, calls in holds.items():
        for how, finish in finishes.items():
            path = new_name("ends")
            mine, other, beside = Process(a + path), Process(b + path), Process(a + path)
            same("%s in A" % what, [mine.do(*call) for call in calls], ["ok"] * len(calls))
            beside_call = ("lock", F_RDLCK, 0, 0, F_SETLKW) if calls[0][0] == "lock" else ("flock", LOCK_SH)
            beside.begin(*beside_call)
            other.begin("flock", LOCK_SH)
            check("  waited for in A and B", beside.waits() and other.waits())
            start = time.monotonic()
            finish(mine)
            got = [beside.end(), other.end()]
            soon("  %s: both may" % how, time.monotonic() - start, got, ["ok", "ok"])
            for process in (beside, other):
                process.status()
            if how != "kill -9":
                mine.status()
    inherited(a, b)
    closed_beside(a, b)


def inherited(a, b):
    path = new_name("inherited")
    mine, other = File(a + path), Process(b + path)
    same("flock is of the open file: held", mine.flock(LOCK_EX), "ok")
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[mine.fd])
    mine.close()
    same("  it goes on with who has inherited it", [other.do("flock", SH_NB), open_of(a + path)], ["EAGAIN", "ok"])
    child.stdin.close()
    child.wait()
    check("  and ends with it", until(lambda: other.do("flock", EX_NB) == "ok", SOON))
    same("  the end", other.status(), 0)


def closed_beside(a, b):
    """What POSIX demands, and a local file system does."""
    path = new_name("beside")
    mine, other = Process(a + path), Process(b + path)
    same("a range", mine.do("lock", F_WRLCK, 0, 5), "ok")
    same("  another descriptor of the file is closed", mine.do("other_close"), "ok")
    check("  the range is gone", until(lambda: other.do("lock", F_WRLCK, 0, 5) == "ok", SOON))
    same("  given back", other.do("lock", F_UNLCK, *WHOLE), "ok")
    same("flock", [mine.do("flock", LOCK_EX), mine.do("other_close"), other.do("flock", SH_NB)], ["ok", "ok", "EAGAIN"])
    same("  stays, until it is given back", [mine.do("flock", LOCK_UN), other.do("flock", EX_NB), other.do("flock", LOCK_UN)],
         ["ok", "ok", "ok"])
    same("an open file's range", [mine.do("lock", F_WRLCK, 0, 5, F_OFD_SETLK), mine.do("other_close"),
                                  other.do("lock", F_RDLCK, 0, 5)], ["ok", "ok", "EAGAIN"])
    same("  both end", [mine.status(), other.status()], [0, 0])


# ---- names ----


def paths(a, b):
    path = new_name("paths")
    old, other = File(a + path), Process(b + path)
    same("a file is locked, and removed", [old.flock(LOCK_EX), result_of(os.unlink, a + path)], ["ok", "ok"])
    new = File(a + path)
    check("its successor is another", os.fstat(old.fd).st_ino != os.fstat(new.fd).st_ino)
    same("  and they exclude each other", [new.flock(EX_NB), other.do("flock", SH_NB)], ["EAGAIN", "EAGAIN"])
    same("  the first one goes: the successor may", [old.flock(LOCK_UN), new.flock(EX_NB)], ["ok", "ok"])
    same("  and keeps the first one out", [old.flock(EX_NB), old.flock(SH_NB)], ["EAGAIN", "EAGAIN"])
    same("  as it does B", other.do("flock", SH_NB), "EAGAIN")
    same("  and when it goes B keeps both out", [new.flock(LOCK_UN), other.do("flock", EX_NB), old.flock(SH_NB), new.flock(SH_NB),
                                                 other.do("flock", LOCK_UN)], ["ok", "ok", "EAGAIN", "EAGAIN", "ok"])
    old.close()
    same("renamed, it is locked by the new name", result_of(os.rename, a + path, a + path + ".n"), "ok")
    renamed = Process(b + path + ".n")
    same("  and only that", [new.flock(EX_NB), renamed.do("flock", SH_NB), other.do("flock", EX_NB)], ["ok", "EAGAIN", "ok"])
    new.close()
    same("  the end", [renamed.status(), other.status()], [0, 0])
    taken(a, b)


def taken(a, b):
    """Names that are held because they must not exist before, and locks on them."""
    path = new_name("taken")
    mine = File(a + path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    other = Process(b + path)
    same("a name made by O_EXCL in A: B may not make it", open_of(b + path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "EEXIST")
    same("  flock in B: refused", [other.do("flock", EX_NB), other.do("flock", SH_NB)], ["EAGAIN", "EAGAIN"])
    same("  ranges, too", [other.do("lock", F_RDLCK, 5, 1), other.do("lock", F_RDLCK, 5, 1, F_OFD_SETLK)], ["EAGAIN", "EAGAIN"])
    same("  F_GETLK names process 0", other.do("holder", F_WRLCK, 5, 1), ["write", 0, 0, 0])
    same("  B may not write to it", other.do("write"), "EBUSY")
    beside = Process(a + path)
    same("  flock in A, among themselves", [mine.flock(EX_NB), beside.do("flock", SH_NB), mine.flock(LOCK_UN),
                                             beside.do("flock", SH_NB)], ["ok", "EAGAIN", "ok", "ok"])
    same("  which B does not get by that", [beside.do("flock", LOCK_UN), other.do("flock", SH_NB)], ["ok", "EAGAIN"])
    other.begin("flock", LOCK_EX)
    check("  flock in B waits", other.waits())
    os.unlink(a + path)
    soon("  and has it when the name was removed", *timed(other.end))
    same("  then A may not make it", open_of(a + path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "EEXIST")
    same("  until it was given back", [other.do("flock", LOCK_UN), open_of(a + path, os.O_RDWR | os.O_CREAT | os.O_EXCL)],
         ["ok", "ok"])
    same("  both end", [result_of(os.unlink, a + path), beside.status(), other.status()], ["ok", 0, 0])
    mine.close()
    path = new_name("taken")
    same("a fifo in A", result_of(os.mkfifo, a + path), "ok")
    check("  is a plain file in B", until(lambda: os.path.isfile(b + path), SOON))
    other = Process(b + path)
    same("  on which flock is refused", [other.do("flock", EX_NB), other.do("flock", SH_NB)], ["EAGAIN", "EAGAIN"])
    other.begin("flock", LOCK_EX)
    check("  or waits", other.waits())
    same("  until it was removed", [result_of(os.unlink, a + path), other.end()], ["ok", "ok"])
    same("  and then keeps it out", result_of(os.mkfifo, a + path), "EEXIST")
    same("  the end", other.status(), 0)
    path = new_name("taken")
    same("mkdir in A", result_of(os.mkdir, a + path), "ok")
    same("  is a directory in B, to be listed", result_of(os.listdir, b + path), "ok")
    same("  but not to be locked, which would be this kernel's", open_of(b + path, os.O_RDONLY), "EBUSY")
    same("  the end", result_of(os.rmdir, a + path), "ok")
    within(a, b)


def within(a, b):
    path = new_name("within")
    os.mkdir(a + path)
    one, two = Process(a + path + "/file"), Process(a + path + "/file")
    same("a file in a directory of A", [one.do("flock", EX_NB), two.do("flock", SH_NB)], ["ok", "EAGAIN"])
    same("  is locked by its path", subprocess.call(["dlock", "--who", path + "/file"], stdout=subprocess.DEVNULL), 0)
    same("  and no more", [one.do("flock", LOCK_UN), subprocess.call(["dlock", "--who", path + "/file"], stdout=subprocess.DEVNULL)], ["ok", 1])
    same("  the end", [one.status(), two.status()], [0, 0])
    os.unlink(a + path + "/file")
    os.rmdir(a + path)


# ---- masters ----


class Masters:
    """Those of the test, in the folder that dlock-local has made for them."""

    def __init__(self, folder):
        self.pids = []
        for name in sorted(os.listdir(folder)):
            if os.path.exists("%s/%s/pid" % (folder, name)):
                with open("%s/%s/pid" % (folder, name)) as file:
                    self.pids.append(int(file.read()))

    def stop(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def quorum(a, b, folder):
    masters = Masters(folder)
    path = new_name("quorum")
    free, held, waited = Process(a + path + ".free"), Process(a + path + ".held"), Process(a + path + ".waited")
    other, waiter, queued = Process(b + path + ".waited"), Process(a + path + ".waited"), Process(a + path + ".free")
    closer, beside = Process(a + path + ".held"), Process(a + path + ".held")
    same("before", [held.do("lock", F_WRLCK, 0, 5), closer.do("lock", F_WRLCK, 5, 5), other.do("flock", LOCK_EX)], ["ok"] * 3)
    waiter.begin("flock", LOCK_EX)
    check("one waits already", waiter.waits())
    masters.stop()
    for what, call in (("EX|NB", ("flock", EX_NB)), ("SH|NB", ("flock", SH_NB)), ("F_SETLK", ("lock", F_WRLCK, 0, 1)),
                       ("F_OFD_SETLK", ("lock", F_RDLCK, 0, 1, F_OFD_SETLK)), ("F_GETLK", ("holder", F_WRLCK, 0, 1)),
                       ("EX|NB again", ("flock", EX_NB))):
        soon("no quorum: %s gives ENOLCK" % what, *timed(free.do, *call), "ENOLCK")
    soon("no quorum: opening what is not there", *timed(open_of, a + path + ".new"), "ENOLCK")
    check("no quorum: behind one who waits it is told, too", until(lambda: waited.do("flock", EX_NB) == "ENOLCK", SOON))
    soon("no quorum: what is held here is known", *timed(beside.do, "lock", F_RDLCK, 0, 1), "EAGAIN")
    soon("no quorum: LOCK_UN of what is not locked", *timed(free.do, "flock", LOCK_UN))
    soon("no quorum: an unlock ends", *timed(held.do, "lock", F_UNLCK, *WHOLE))
    soon("no quorum: close ends", *timed(closer.do, "close"))
    soon("no quorum: exit ends", *timed(closer.status), 0)
    queued.begin("flock", LOCK_EX)
    check("no quorum: one begins to wait", queued.waits())
    command = Command("flock", a + path + ".free", "true")
    check("  and another", command.waits())
    soon("  whom Ctrl-C ends", *timed(command.kill, signal.SIGINT), -signal.SIGINT)
    # Longer than a library's call would wait here; nothing is told to who waits.
    same("those who wait, wait on", [waiter.end(2.5), queued.end(0)], ["waits", "waits"])
    masters.go_on()
    seconds, got = timed(queued.end)
    check("with the masters it goes on (%d ms)" % (seconds * 1000), got == "ok", got)
    other.do("flock", LOCK_UN)
    seconds, got = timed(waiter.end)
    check("with its holder, too (%d ms)" % (seconds * 1000), got == "ok", got)
    check("and what was given back is free", until(lambda: held.do("flock", EX_NB) == "ok"))
    for process in (free, held, waited, other, waiter, queued, beside):
        process.status()


def unusable(description, processes):
    """After a loss, whatever is called but what ends it."""
    for call in (("flock", LOCK_EX), ("flock", SH_NB), ("lock", F_WRLCK, 0, 1), ("lock", F_RDLCK, 0, 1, F_OFD_SETLKW),
                 ("holder", F_WRLCK, 0, 1), ("read",), ("write",)):
        same("%s: %s gives EIO" % (description, call[0]), [process.do(*call) for process in processes],
             ["EIO"] * len(processes))


def loss(a, b, folder):
    """By an operator; then by masters that are silent for longer than the lease."""
    path = new_name("loss")
    whole, part, reads, waiter = (Process(a + path) for _ in range(4))
    idle, other = Process(a + path), Process(b + path)
    owners = [whole, part, reads]
    same("held in A", [whole.do("flock", LOCK_EX), part.do("lock", F_WRLCK, 0, 4), reads.do("lock", F_RDLCK, 10, 1, F_OFD_SETLK),
                       idle.do("read")], ["ok"] * 4)
    waiter.begin("flock", LOCK_EX)
    check("one waits", waiter.waits())
    same("nobody was told anything", [process.do("signals") for process in owners], [0, 0, 0])
    subprocess.check_call(["dlock", "--break", path, "--yes"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check("the lock is broken: each owner is told by SIGTERM",
          until(lambda: all(process.do("signals") == 1 for process in owners)))
    same("  who has only opened it is not", idle.do("signals"), 0)
    unusable("lost", owners)
    same("  others of the file are not concerned", [idle.do("read"), idle.do("write"), open_of(a + path)], ["ok"] * 3)
    same("  who has waited has it now", waiter.end(), "ok")
    same("  without having been told", waiter.do("signals"), 0)
    same("LOCK_UN ends that", [whole.do("flock", LOCK_UN), whole.do("read"), whole.do("flock", EX_NB)], ["ok", "ok", "EAGAIN"])
    same("F_UNLCK, too", [part.do("lock", F_UNLCK, *WHOLE), part.do("write")], ["ok", "ok"])
    same("close, too", reads.do("close"), "ok")
    same("and it is to be had again", [waiter.do("flock", LOCK_UN), whole.do("flock", EX_NB), other.do("flock", SH_NB)],
         ["ok", "ok", "EAGAIN"])
    same("each was told once", [process.do("signals") for process in owners], [1, 1, 1])
    masters = Masters(folder)
    masters.stop()
    waiter.begin("flock", LOCK_EX)
    check("masters are silent for longer than the lease: it is lost", until(lambda: whole.do("signals") == 2))
    unusable("lost", [whole])
    check("  who waits, waits on", waiter.waits())
    soon("  LOCK_UN ends in time", *timed(whole.do, "flock", LOCK_UN))
    soon("  and then it is as any other without a quorum", *timed(whole.do, "flock", EX_NB), "ENOLCK")
    masters.go_on()
    same("  with the masters, the one who waits gets it", waiter.end(), "ok")
    same("  and is not told", waiter.do("signals"), 0)
    same("  B sees it", other.do("flock", SH_NB), "EAGAIN")
    for process in owners + [waiter, idle, other]:
        process.status()


# ---- many ----


class Crowd:
    """Processes that each wait for the lock, have it, and end."""

    def __init__(self, path, count):
        self.pids = []
        begun, say = os.pipe()
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    file = File(path)
                    os.write(say, b".")
                    os._exit(0 if file.flock(LOCK_EX) == "ok" else 1)
                finally:
                    os._exit(2)
            self.pids.append(pid)
        os.close(say)
        with open(begun, "rb") as pipe:
            while count > 0:
                count -= len(os.read(pipe.fileno(), count)) or count

    def all_sleep(self):
        for pid in self.pids:
            with open("/proc/%d/stat" % pid) as file:
                if file.read().rpartition(")")[2].split()[0] != "S":
                    return False
        return True

    def kill(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        return self.statuses()

    def statuses(self):
        return {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids}


def crowd(a, b, count):
    count = int(count)
    path = new_name("crowd")
    other = File(b + path)
    same("held in B", other.flock(LOCK_EX), "ok")
    waiters = Crowd(a + path, count)
    check("%d wait in A" % count, until(waiters.all_sleep))
    start = time.monotonic()
    beside = File(a + path + ".beside")
    got = [beside.flock(EX_NB), beside.lock(F_WRLCK, 0, 5), beside.flock(LOCK_UN), beside.close(), result_of(os.stat, a + path),
           result_of(os.listdir, a), open_of(a + path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
           result_of(os.unlink, a + path + ".new"), File(a + path).flock(EX_NB)]
    soon("  everything else is answered", time.monotonic() - start, got, ["ok"] * 8 + ["EAGAIN"])
    seconds, statuses = timed(waiters.kill)
    soon("  all are killed, and end", seconds / max(1, count / 1000), statuses, {-signal.SIGKILL})
    same("  the holder has noticed nothing", other.flock(LOCK_UN), "ok")
    free = File(a + path)
    same("  and nothing is left of them", [free.flock(EX_NB), free.flock(LOCK_UN)], ["ok", "ok"])
    same("held in B again", other.flock(LOCK_EX), "ok")
    waiters = Crowd(a + path, count // 5)
    check("%d wait in A" % (count // 5), until(waiters.all_sleep))
    same("  and each gets it when it is free", [other.flock(LOCK_UN), waiters.statuses()], ["ok", {0}])
    free.close()
    other.close()


def rounds(a, b, count):
    path = new_name("rounds")
    file = File(a + path)
    got = {}
    for _ in range(int(count)):
        for operation in (LOCK_EX, LOCK_UN):
            result = file.flock(operation)
            got[result] = got.get(result, 0) + 1
    same("%s times EX and UN" % count, got, {"ok": 2 * int(count)})
    same("nothing is left", File(b + path).flock(EX_NB), "ok")


GROUPS = [modes, conversions, interruptions, ranges, ends, paths, quorum, loss, crowd, rounds]


def main(group, a, b, *more):
    # A shell lets its jobs ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {function.__name__: function for function in GROUPS}[group](a + "/", b + "/", *more)
    print("end")


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/python3
"""checker.py [OPTIONS] FOLDER - whether what the processes of a torture saw is what the library promises.

Reads every FOLDER/*.log, the histories that workers and director have written (README.md
beside this file tells their format), and knows nothing else: it shares no code with the
library, asks no master, and reads no clock. Each violation is told in plain words with
the lines that contradict each other and the faults of the second before.

  --bound SECONDS      within which a waiter is served once all faults are taken back
                       (default 20)
  --grace SECONDS      after a heal, during which ENOLCK is still right: masters that
                       forgot wait max_ttl before they vote (default: the bound)
  --quorum-timeout SECONDS  who is told ENOLCK earlier did not mean to wait (default 0:
                       those tell that they did not)
  --tokenless PREFIX   processes whose names begin so are told no tokens, as on a mount
  --order NAME         whoever waits for this is served in turn (none; may be given again)
  --settle SECONDS     after a heal, before which no order is judged (default 8): until then
                       masters wait out their quarantine, connections come back, and what
                       dead processes held ends
  --margin SECONDS     who asked earlier by less may be served later (default 0.2)
  --min-grants NUMBER  fewer grants are no proof of anything (default 1)
  --min-faults NUMBER  the same of faults (default 0)

Status: 0 nothing is wrong; 1 violations; 2 the histories can't be read, or the usage.
"""
import errno
import gc
import getopt
import os
import sys
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from sys import intern

MS = 1000000
SECOND = 1000 * MS
FOREVER = 1 << 63

ERRORS = {name for name in dir(errno) if name.startswith("E") and isinstance(getattr(errno, name), int)}
# What each may answer, as dlock_flock(3), dlock_verify(3) and dlock_close(3) tell. A register refuses with whatever
# errno it likes.
KNOWN = {
    "lock": {"ok", "EWOULDBLOCK", "EAGAIN", "ETIMEDOUT", "ENOLCK", "ESTALE", "EINTR", "EBADF", "ECHILD", "EINPROGRESS", "EALREADY"},
    "unlock": {"ok", "EBADF", "ECHILD", "EINPROGRESS", "EALREADY"},
    "close": {"ok", "EBADF"},
    "verify": {"ok", "ESTALE", "ENOLCK", "EINTR", "EBADF", "ECHILD", "EINPROGRESS", "EALREADY"},
    "lost": {"ok", "-", "ESTALE"},
    "renew": {"ok", "-"},
    "read": {"ok"} | ERRORS,
    "write": {"ok"} | ERRORS,
}
INSTANTS = ("lost", "renew")


class Malformed(Exception):
    pass


class Event:
    """One line. `ret` is None for a call that has only begun, `call` is None for what only happens (lost, renew)."""

    __slots__ = ("where", "proc", "fd", "op", "mode", "name", "result", "token", "call", "ret", "deadline", "value")

    def __init__(self, where, proc, fd, op, mode, name, result, token, call, ret, deadline, value):
        self.where = where
        self.proc = proc
        self.fd = fd
        self.op = op
        self.mode = mode
        self.name = name
        self.result = result
        self.token = token
        self.call = call
        self.ret = ret
        self.deadline = deadline
        self.value = value

    def time(self):
        return self.call if self.ret is None else self.ret

    def order(self):
        """When it counts: when its outcome was known. A close counts from its beginning, since another thread may have
        the number before it has returned; so does what is ended by a close."""
        if self.ret is None:
            return FOREVER
        return self.call if self.op == "close" or (self.op == "lock" and self.result == "EBADF") else self.ret


class Fault:
    __slots__ = ("where", "time", "words")

    def __init__(self, where, time, words):
        self.where = where
        self.time = time
        self.words = words


class Kill:
    __slots__ = ("where", "proc", "before", "after")

    def __init__(self, where, proc, before, after):
        self.where = where
        self.proc = proc
        self.before = before
        self.after = after


class Turn:
    """Somebody in a queue: the lock call, and until when it waited for certain."""

    __slots__ = ("event", "until")

    def __init__(self, event, until):
        self.event = event
        self.until = until


class Grant:
    """A lock as its holder could rely on it: [start, end), in one mode. `token` is None where nobody has told it."""

    __slots__ = ("event", "mode", "token", "start", "end", "deadline", "why")

    def __init__(self, event, mode, token, start, deadline):
        self.event = event
        self.mode = mode
        self.token = token
        self.start = start
        self.end = None
        self.deadline = deadline
        self.why = ""

    def cut(self, time, why):
        self.end, self.why = time, why
        if self.deadline is not None and self.deadline < time:
            self.end, self.why = self.deadline, "its deadline"


# ---- reading -------------------------------------------------------------------------------------------


def number(text, what):
    if not (text.isdigit() and text.isascii()):
        raise Malformed("%s is not a number: %.40r" % (what, text))
    return int(text)


def optional(text, what):
    return None if text == "-" else number(text, what)


class History:
    """All lines of all files, sorted by nothing yet."""

    def __init__(self):
        self.files = []
        self.events = defaultdict(list)  # by process and descriptor
        self.kills = {}
        self.faults = []
        self.heals = []
        self.ends = []
        self.lates = defaultdict(list)  # by process: (from, to)
        self.aheads = []   # (from, to): tickets may be those of a clock that was ahead
        self.left = []
        self.bad = []      # (where, sentence)
        self.cut = []      # last lines that are allowed only to who was killed
        self.cut_lines = 0
        self.last = 0      # the latest time of all
        self.first = FOREVER

    def read_folder(self, folder):
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".log"))
        except OSError as error:
            self.bad.append((None, "%s: %s" % (folder, error.strerror)))
            return
        if not names:
            self.bad.append((None, "%s: no *.log in it" % folder))
        for name in names:
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
                    self.read_lines(path, lines)
            except OSError as error:
                self.bad.append((None, "%s: %s" % (path, error.strerror)))
        self.finish()

    def read_lines(self, path, lines):
        """One file. What is wrong with its last line can be judged only when all kills are known."""
        self.files.append(path)
        base = (len(self.files) - 1) << 40
        proc = None
        doubt = None
        for count, line in enumerate(lines, 1):
            if doubt:
                self.bad.append(doubt[:2])
                doubt = None
            where = base | count
            try:
                if not line.endswith("\n"):
                    raise Malformed("the line is cut off")
                if line.startswith("e "):
                    proc = self.read_event(where, line[:-1].split(" "))
                else:
                    self.read_word(where, line[:-1])
            except Malformed as error:
                doubt = (where, str(error), line)
        if doubt:
            self.cut.append(doubt + (proc or os.path.basename(path)[:-len(".log")],))

    def read_event(self, where, fields):
        if len(fields) != 12:
            raise Malformed("%d fields where an event has 12" % len(fields))
        _, proc, fd, op, mode, name, result, token, call, ret, deadline, value = fields
        if "" in fields:
            raise Malformed("an empty field")
        if op not in KNOWN:
            raise Malformed("no operation: %.40r" % op)
        if mode not in ("X", "S", "-") or (op == "lock" and mode == "-"):
            raise Malformed("no mode of this operation: %.40r" % mode)
        # One string for equal ones: there are millions.
        event = Event(where, intern(proc), intern(fd), intern(op), intern(mode), intern(name), intern(result),
                      optional(token, "the token"), optional(call, "CALL"), optional(ret, "RETURN"),
                      optional(deadline, "the deadline"), intern(value))
        if event.op in INSTANTS:
            event.call = None
            if event.ret is None:
                raise Malformed("RETURN is missing")
        elif event.call is None:
            raise Malformed("CALL is missing")
        elif (event.ret is None) != (result == "-"):
            raise Malformed("RESULT and RETURN: either both or none")
        if op in ("read", "write"):
            event.value = optional(value, "the value")
            if result == "ok" and event.value is None:
                raise Malformed("the value is missing")
        elif op == "lock" and value not in ("-", "nb"):
            number(value, "the time-out")
        self.events[event.proc, event.fd].append(event)
        self.saw(event.time())
        if event.call is not None:
            self.saw(event.call)
        return event.proc

    def saw(self, time):
        if time > self.last:
            self.last = time
        if time < self.first:
            self.first = time

    def read_word(self, where, line):
        word, _, rest = line.partition(" ")
        fields = rest.split(" ")
        if word == "left":
            if len(fields) < 2 or "" in fields[:2]:
                raise Malformed("left: a master and a key")
            self.left.append((where, fields[0], rest[len(fields[0]) + 1:]))
        elif word == "f":
            if len(fields) < 2 or not fields[1]:
                raise Malformed("f: a time and words")
            self.faults.append(Fault(where, number(fields[0], "the time"), rest[len(fields[0]) + 1:]))
            self.saw(self.faults[-1].time)
        elif word in ("heal", "end"):
            if len(fields) != 1:
                raise Malformed("%s: a time" % word)
            (self.heals if word == "heal" else self.ends).append((number(fields[0], "the time"), where))
            self.saw((self.heals if word == "heal" else self.ends)[-1][0])
        elif word == "late":
            if len(fields) != 3 or not fields[0]:
                raise Malformed("late: a process and two times")
            self.lates[fields[0]].append((number(fields[1], "the time before"), number(fields[2], "the time after")))
        elif word == "ahead":
            if len(fields) != 2:
                raise Malformed("ahead: two times")
            self.aheads.append((number(fields[0], "the time before"), number(fields[1], "the time after")))
        elif word == "k":
            self.read_kill(where, fields)
        else:
            raise Malformed("no kind of line: %.40r" % line)

    def read_kill(self, where, fields):
        if len(fields) != 3 or not fields[0]:
            raise Malformed("k: a process and two times")
        kill = Kill(where, fields[0], number(fields[1], "the time before"), number(fields[2], "the time after"))
        if kill.after < kill.before:
            raise Malformed("k: the time after comes before the time before")
        if fields[0] in self.kills:
            raise Malformed("k: %s was killed already, %s" % (fields[0], self.tell_where(self.kills[fields[0]].where)))
        self.kills[fields[0]] = kill
        self.saw(kill.before)

    def kill_of(self, proc):
        """Who was killed took its children along: those whose names are its own, a dot, and more."""
        while proc:
            if proc in self.kills:
                return self.kills[proc]
            proc = proc.rpartition(".")[0]
        return None

    def finish(self):
        """All files are read: the cut lines are judged."""
        for where, sentence, line, proc in self.cut:
            fields = line.rstrip("\n").split(" ")
            if fields[0] == "e" and len(fields) > 2:
                proc = fields[1]
            if self.kill_of(proc):
                self.cut_lines += 1
                self.read_begun(where, fields)
            else:
                self.bad.append((where, sentence))
        self.cut = []
        if len(self.ends) > 1:
            self.bad.append((self.ends[1][1], "a second end"))
        if self.first == FOREVER:
            self.first = 0

    def read_begun(self, where, fields):
        """What a cut line tells for certain: that the call was made."""
        if len(fields) < 10 or fields[3] in INSTANTS:
            return
        try:
            self.read_event(where, fields[:6] + ["-"] + fields[7:9] + ["-", "-", "-"])
        except Malformed:
            return
        self.events[fields[1], fields[2]][-1].value = "cut"

    def tell_where(self, where):
        return "%s:%d" % (self.files[where >> 40], where & ((1 << 40) - 1))


# ---- what is told --------------------------------------------------------------------------------------


class Violation:
    __slots__ = ("kind", "text", "subjects", "time")

    def __init__(self, kind, text, subjects, time):
        self.kind = kind
        self.text = text
        self.subjects = subjects
        self.time = time


class Report:
    def __init__(self, history):
        self.history = history
        self.violations = []
        self.notes = Counter()
        self.summary = []

    def wrong(self, kind, text, *subjects):
        times = [s.start if isinstance(s, Grant) else s.before if isinstance(s, Kill) else s.time() for s in subjects]
        self.violations.append(Violation(kind, text, subjects, max(times) if times else self.history.last))

    def ms(self, time):
        return "-" if time is None else "%.3f ms" % ((time - self.history.first) / MS)

    def tell_event(self, event):
        words = ["%s: %s fd %s %s" % (self.history.tell_where(event.where), event.proc, event.fd, event.op)]
        if event.mode != "-":
            words.append(event.mode)
        words.append("%s: %s" % (event.name, event.result if event.ret is not None else "has not returned"))
        if event.token is not None:
            words.append("token %d" % event.token)
        if event.op in ("read", "write"):
            words.append("value %s" % event.value)
        words.append("at %s" % self.ms(event.ret) if event.call is None else
                     "called %s, returned %s" % (self.ms(event.call), self.ms(event.ret)))
        return " ".join(words) + (", deadline %s" % self.ms(event.deadline) if event.deadline is not None else "")

    def tell_subject(self, subject):
        if isinstance(subject, Kill):
            return "%s: %s was killed between %s and %s" % (
                self.history.tell_where(subject.where), subject.proc, self.ms(subject.before), self.ms(subject.after))
        if isinstance(subject, Event):
            return self.tell_event(subject)
        return "%s; held %s from %s to %s (%s)" % (
            self.tell_event(subject.event), subject.mode, self.ms(subject.start), self.ms(subject.end), subject.why)

    def tell(self, out):
        for where, sentence in self.history.bad:
            out.write("bad input: %s%s\n" % ("" if where is None else self.history.tell_where(where) + ": ", sentence))
        self.violations.sort(key=lambda violation: violation.time)
        times = [fault.time for fault in self.history.faults]
        for count, violation in enumerate(self.violations, 1):
            out.write("violation %d, %s, at %s: %s\n" % (count, violation.kind, self.ms(violation.time), violation.text))
            for subject in violation.subjects:
                out.write("    %s\n" % self.tell_subject(subject))
            faults = self.history.faults[bisect_left(times, violation.time - SECOND):bisect_right(times, violation.time)]
            for fault in faults:
                out.write("    a fault before: %s: at %s: %s\n" % (
                    self.history.tell_where(fault.where), self.ms(fault.time), fault.words))
        for line in self.summary:
            out.write(line + "\n")

    def status(self):
        return 2 if self.history.bad else 1 if self.violations else 0


# ---- what one descriptor saw ---------------------------------------------------------------------------


class Descriptor:
    """Follows the calls on one descriptor in their order: what it held, and what contradicts itself."""

    def __init__(self, check, proc, fd):
        self.check = check
        self.proc = proc
        self.fd = fd
        self.killed = check.history.kill_of(proc)
        self.name = None
        self.held = None    # the Grant
        self.unsure = None  # the Grant of which nobody knows whether anything is left
        self.lost = None    # the Event that told so
        self.last = None    # the last call
        self.known = None   # the value that it saw last in the register, since it was granted the lock
        self.exclusive = None  # (name, token) with which it may still write

    def wrong(self, text, *subjects):
        self.check.report.wrong("sanity", text, *subjects)

    def follow(self, events):
        steps = {"lock": self.lock, "unlock": self.unlock, "close": self.close, "verify": self.verify,
                 "lost": self.lose, "renew": self.renew, "read": self.register, "write": self.register}
        for event in events:
            if not self.sane(event):
                continue
            if event.ret is None:
                self.begun(event)
            elif event.result in KNOWN[event.op]:
                steps[event.op](event)
        self.finish()

    def sane(self, event):
        """Whether it can be followed."""
        if event.ret is not None and event.result not in KNOWN[event.op]:
            self.wrong("%s is no result of %s" % (event.result, event.op), event)
        if event.call is not None:
            if event.ret is not None and event.ret < event.call:
                self.wrong("returned before it was called", event)
            if self.last and event.call < self.last.ret and not self.may_overlap(self.last, event):
                self.wrong("two calls on one descriptor overlap", self.last, event)
            if event.ret is not None:
                self.last = event
        if self.killed and event.time() > self.killed.after:
            self.check.report.notes["lines of who was killed already"] += 1
        if event.name != self.name and (self.held or self.unsure):
            self.wrong("another name, %s, while it has %s" % (event.name, self.name), self.held or self.unsure, event)
            return False
        self.name = event.name
        return True

    @staticmethod
    def may_overlap(last, event):
        """A close ends what another thread waits for, and then the number is anybody's."""
        return (last.op == "close" and last.call <= event.call) or (event.op == "close" and last.result == "EBADF")

    def begun(self, event):
        """The call never returned. Only the end of the process excuses that."""
        if not self.killed:
            self.check.report.wrong("ended", "a call never returned, and nobody has killed the process", event)
        if event.op != "write":
            self.exclusive = None
        held = self.held
        if held and (event.op in ("unlock", "close") or (event.op == "lock" and held.mode != event.mode)):
            self.cut(held, event.call, "the call of %s" % event.op)
            self.held = None
            if event.op == "lock" and event.mode == "S":
                self.held = self.grant(event, "S", None, event.call, held.deadline)

    def grant(self, event, mode, token, start, deadline):
        grant = Grant(event, mode, token, start, deadline)
        self.check.grants[event.name].append(grant)
        return grant

    def cut(self, grant, time, why):
        if self.killed and self.killed.before < time:
            time, why = self.killed.before, "the process was killed"
        grant.cut(time, why)

    def doubt(self, time, why):
        """The holder can't rely on it any more, but may learn that nothing has happened to it."""
        self.cut(self.held, time, why)
        self.held, self.unsure = None, self.held

    def lock(self, event):
        self.check.locks[event.name].append(event)
        if event.result == "ok":
            self.granted(event)
        elif event.result == "ESTALE":
            if self.held:
                self.cut(self.held, event.call, "the call that told its loss")
            self.held, self.unsure, self.lost = None, None, event
        elif self.held and self.held.mode == event.mode:
            if event.result != "EBADF":
                self.wrong("a lock call in the mode that is held must return 0 at once", self.held, event)
        elif self.held and not (self.held.mode == "S" and event.result in ("EWOULDBLOCK", "EAGAIN")):
            # LOCK_NB keeps the shared lock, dlock_flock(3) promises; a caller that waited may have given it back.
            self.doubt(event.call, "the call of a conversion that failed")

    def granted(self, event):
        if self.lost:
            self.wrong("granted although it was told of a loss and has not unlocked since", self.lost, event)
        if event.token is None and not event.proc.startswith(self.check.tokenless):
            self.wrong("granted without a token", event)
        if event.deadline is not None and event.deadline <= event.ret:
            if self.check.was_touched(event):
                self.check.report.notes["grants that a stopped process heard of after their deadline"] += 1
            else:
                self.wrong("granted when its deadline had passed", event)
        self.lost = None
        if self.unsure and self.unsure.mode == event.mode == "X" and self.unsure.token == event.token is not None:
            self.held, self.unsure = self.unsure, None
        if self.held and self.held.mode == event.mode:
            self.kept(event)
            return
        start = event.ret
        if self.held:
            self.cut(self.held, event.call, "the call of the conversion")
            if event.mode == "S":
                start = event.call
        self.unsure = None
        self.held = self.grant(event, event.mode, event.token, start, event.deadline)
        self.known = None
        self.exclusive = (event.name, event.token) if event.mode == "X" and event.token is not None else None
        self.check.owned[self.proc, event.name].add(event.token)

    def kept(self, event):
        """The holder was told again that it has the lock."""
        if event.token is not None and event.token != self.held.token and self.held.token is not None:
            self.check.report.wrong("tokens", "the token changed while the lock was held", self.held, event)
        if event.deadline is not None:
            self.held.deadline = event.deadline

    def unlock(self, event):
        if event.result not in ("ok", "EINPROGRESS"):
            return
        if self.held:
            self.cut(self.held, event.call, "the call of unlock")
        elif not self.lost and not self.unsure:
            self.check.report.notes["unlocks without a lock"] += 1
        self.held = self.unsure = self.lost = self.exclusive = None

    def close(self, event):
        if event.result != "ok":
            return
        if self.held:
            self.cut(self.held, event.call, "the call of close")
        self.held = self.unsure = self.lost = self.exclusive = None

    def verify(self, event):
        if event.result == "ok":
            self.still(event, "verify said yes")
        elif event.result == "ESTALE" and self.held:
            self.doubt(event.ret, "verify found no proof")

    def renew(self, event):
        self.still(event, "renewed")

    def still(self, event, what):
        if self.lost:
            self.wrong("%s although it was told of a loss" % what, self.lost, event)
        elif not self.held and not (self.unsure and event.token == self.unsure.token):
            self.wrong("%s without a lock" % what, event)
        else:
            if not self.held:
                # Without a gap, that is what both prove: a lock that was lost for a moment stays lost.
                self.held, self.unsure = self.unsure, None
            self.kept(event)

    def lose(self, event):
        if self.held:
            self.cut(self.held, event.ret, "its loss was told")
        elif not self.lost and not self.unsure:
            self.wrong("told of a loss without a lock", event)
        self.held, self.unsure = None, None
        self.lost = self.lost or event

    def register(self, event):
        if event.result != "ok":
            return
        if event.token is None:
            self.check.report.wrong("register", "accepted without a token", event)
            return
        if event.token not in self.check.owned[self.proc, event.name]:
            self.check.report.wrong("register", "accepted with a token that this process was never granted", event)
        if event.op == "write":
            if event.token % 2:
                self.check.report.wrong("register", "written with the token of a shared lock", event)
            if self.known is None:
                self.check.report.wrong("register", "written without having read with this token", event)
            elif event.value != self.known + 1:
                self.check.report.wrong("register", "written is not what was read (%d) and one" % self.known, event)
        self.known = event.value
        self.check.registers[event.name].append(event)

    def finish(self):
        if self.killed:
            if self.held:
                self.cut(self.held, self.killed.before, "the process was killed")
            if self.exclusive:
                self.check.unfinished[self.exclusive[0]].append(self.exclusive[1])
        elif self.held:
            self.check.report.wrong("ended", "the lock was never given back, and nobody has killed the process", self.held)
            self.cut(self.held, self.check.history.last, "the end of the history")
        elif self.unsure:
            self.check.report.wrong("ended", "a lock of which something may be left was never given back", self.unsure)


# ---- what all of them saw together ---------------------------------------------------------------------


class Check:
    def __init__(self, history, bound=20 * SECOND, grace=None, quorum_timeout=0, min_grants=1, min_faults=0, tokenless=(), order=(),
                 settle=8 * SECOND, margin=200 * MS):
        self.history = history
        self.report = Report(history)
        self.bound = bound
        self.grace = bound if grace is None else grace
        self.quorum_timeout = quorum_timeout
        self.tokenless = tokenless
        self.order, self.settle, self.margin = order, settle, margin
        self.in_turn = 0  # grants that could have come too early
        self.min_grants = min_grants
        self.min_faults = min_faults
        self.grants = defaultdict(list)      # by name
        self.locks = defaultdict(list)       # lock calls that returned, by name
        self.registers = defaultdict(list)   # what the register accepted, by name
        self.unfinished = defaultdict(list)  # tokens with which a killed process may have written last, by name
        self.owned = defaultdict(set)        # tokens by process and name
        self.pending = []
        self.contended = 0
        self.longest = None
        self.touched = defaultdict(list)

    def run(self):
        history = self.history
        history.faults.sort(key=lambda fault: fault.time)
        history.heals.sort()
        for fault in history.faults:
            for word in fault.words.split(" "):
                self.touched[word].append(fault.time)
        for (proc, fd), events in history.events.items():
            Descriptor(self, proc, fd).follow(self.in_order(events))
        for name in sorted(self.grants.keys() | self.registers.keys()):
            grants = self.grants[name]
            self.exclusion(grants)
            self.tokens(grants)
            self.register(name)
            self.contention(name, grants)
        self.ended()
        self.waiters()
        for name in self.order:
            self.turns(name)
        self.enough()
        self.summarize()
        return self.report

    def was_touched(self, event):
        """Whether a fault names the process at the time of a call: it may have stood still between the library's last look
        at the clock and its own. As with kills, it may be named by the part before a dot."""
        proc = event.proc
        while proc:
            times = self.touched.get(proc, ())
            place = bisect_left(times, event.call - SECOND)
            if place < len(times) and times[place] <= event.ret:
                return True
            proc = proc.rpartition(".")[0]
        return False

    def in_order(self, events):
        """Without the beginnings of calls of which the end is told as well."""
        ended = {(event.op, event.call) for event in events if event.ret is not None} if any(
            event.ret is None for event in events) else ()
        rest = [event for event in events if event.ret is not None or (event.op, event.call) not in ended]
        self.pending += [event for event in rest if event.ret is None and event.op == "lock"]
        rest.sort(key=Event.order)
        return rest

    # -- 1: exclusion --

    def exclusion(self, grants):
        """In the order of their beginnings each is compared with those before that end last."""
        lasting = {"X": None, "S": None}
        held = sorted((grant for grant in grants if grant.end > grant.start), key=lambda grant: grant.start)
        for grant in held:
            for mode in ("X", "S") if grant.mode == "X" else ("X",):
                other = lasting[mode]
                if other and other.end > grant.start:
                    self.report.wrong("exclusion", "%s of %s at the same time, for %.3f ms" % (
                        "two exclusive locks" if mode == grant.mode else "a shared and an exclusive lock", grant.event.name,
                        (min(other.end, grant.end) - grant.start) / MS), other, grant)
            if not lasting[grant.mode] or lasting[grant.mode].end < grant.end:
                lasting[grant.mode] = grant

    # -- 2: tokens --

    def tokens(self, grants):
        grants = [grant for grant in grants if grant.token is not None]
        seen = {}
        for grant in grants:
            if grant.token % 2 != (grant.mode == "S"):
                self.report.wrong("tokens", "the token of %s lock is %s" % (
                    ("an exclusive", "odd") if grant.mode == "X" else ("a shared", "even")), grant)
            elif grant.mode == "X":
                other = seen.setdefault(grant.token, grant)
                if other is not grant:
                    self.report.wrong("tokens", "two exclusive grants of %s have the same token" % grant.event.name, other, grant)
        told = self.tokens_of_calls(grants)
        self.tokens_of_intervals(grants, told)

    def tokens_of_calls(self, grants):
        """What had been granted before a lock was asked for has a smaller token."""
        told = set()
        returned = sorted(grants, key=lambda grant: grant.event.ret)
        highest = {"X": None, "S": None}
        place = 0
        for grant in sorted(grants, key=lambda grant: grant.event.call):
            while place < len(returned) and returned[place].event.ret < grant.event.call:
                self.raise_highest(highest, returned[place])
                place += 1
            if self.token_too_small(highest, grant, "was granted before this one was called"):
                told.add(id(grant))
        return told

    def tokens_of_intervals(self, grants, told):
        """Who waited while another held it has the greater token, too."""
        highest = {"X": None, "S": None}
        for grant in sorted((grant for grant in grants if grant.end > grant.start), key=lambda grant: grant.start):
            if id(grant) not in told:
                self.token_too_small(highest, grant, "was held before this one")
            self.raise_highest(highest, grant)

    @staticmethod
    def raise_highest(highest, grant):
        if not highest[grant.mode] or highest[grant.mode].token < grant.token:
            highest[grant.mode] = grant

    def token_too_small(self, highest, grant, when):
        for mode in ("X", "S") if grant.mode == "X" else ("X",):
            other = highest[mode]
            # That two are equal is told once, by name.
            if other and (other.token > grant.token or (other.token == grant.token and mode != grant.mode)):
                self.report.wrong("tokens", "the token of %s grant of %s is not above that of %s one that %s" % (
                    "an exclusive" if grant.mode == "X" else "a shared", grant.event.name,
                    "an exclusive" if mode == "X" else "a shared", when), other, grant)
                return True
        return False

    # -- 3: the register --

    def register(self, name):
        accepted = self.registers[name]
        self.register_order(accepted)
        steps = [((event.token, event.call), event) for event in accepted]
        steps += [((token, FOREVER), None) for token in self.unfinished[name]]
        steps.sort(key=lambda step: step[0])
        value = before = None
        slack = 0
        for _, event in steps:
            if event is None:
                slack += 1  # killed with the lock: its last write may have been accepted and not told
                continue
            wanted = None if value is None else value + (event.op == "write")
            if wanted is not None and not wanted <= event.value <= wanted + slack:
                self.wrong_value(event, before, value)
            value, before, slack = event.value, event, 0

    def wrong_value(self, event, before, value):
        if event.op == "read":
            text = "read %d where %d was there: %s" % (
                event.value, value, "an accepted write is lost" if event.value < value else "nobody has written this")
        else:
            text = "wrote %d where %d was there: %s" % (
                event.value, value, "an accepted write is lost" if event.value <= value else "a write between is not told")
        self.report.wrong("register", text, before, event)

    def register_order(self, accepted):
        """Nothing is accepted with a token below one that was accepted before."""
        returned = sorted(accepted, key=lambda event: event.ret)
        highest = None
        place = 0
        for event in sorted(accepted, key=lambda event: event.call):
            while place < len(returned) and returned[place].ret < event.call:
                if not highest or returned[place].token > highest.token:
                    highest = returned[place]
                place += 1
            if highest and event.token < highest.token:
                self.report.wrong("register", "accepted with a token below one that was accepted before", highest, event)

    # -- 4: everything is given back --

    def ended(self):
        for where, master, key in self.history.left:
            self.report.wrong("ended", "%s: at the end %s still has %s" % (self.history.tell_where(where), master, key))
        if not self.history.ends:
            self.report.wrong("ended", "no line tells the end")
            return
        end = self.history.ends[0][0]
        for events in self.history.events.values():
            late = max(events, key=Event.time)
            if late.time() > end:
                self.report.wrong("ended", "a process was still there after the end, %s" % self.report.ms(end), late)
        for proc, kill in self.history.kills.items():
            if kill.before > end:
                self.report.wrong("ended", "%s was killed only after the end, %s" % (proc, self.report.ms(end)), kill)

    # -- 5: waiters are served --

    def phases(self):
        """From each heal to the next fault, or the end."""
        phases = []
        times = [fault.time for fault in self.history.faults]
        end = self.history.ends[0][0] if self.history.ends else self.history.last
        for heal, _ in self.history.heals:
            place = bisect_left(times, heal)
            until = times[place] if place < len(times) else end
            if not phases or phases[-1][1] < heal:
                phases.append((heal, until))
        return phases

    def waiters(self):
        phases = self.phases()
        untils = [until for _, until in phases]
        for calls in list(self.locks.values()) + [self.pending]:
            for event in calls:
                if not self.waits(event):
                    continue
                ret = event.ret
                if ret is None:
                    killed = self.history.kill_of(event.proc)
                    ret = killed.before if killed else FOREVER
                for heal, until in phases[bisect_right(untils, event.call):]:
                    if heal > ret or self.unserved(event, ret, heal, until):
                        break

    def waits(self, event):
        """Whether it was meant to wait for as long as it takes, as far as its line tells: every other answer is that of a
        call that was cancelled, had a time-out or none at all, or had nothing to wait for."""
        if event.value != "-":
            return False
        return event.result in ("ok", "-") or (event.result == "ENOLCK" and event.ret - event.call >= self.quorum_timeout)

    def unserved(self, event, ret, heal, until):
        due = max(event.call, heal) + self.bound
        if event.result == "ENOLCK":
            if not heal + self.grace <= ret <= until:
                return False
            self.report.wrong("waiters", "ENOLCK %.3f ms after all faults were taken back (%s)" % (
                (ret - heal) / MS, self.report.ms(heal)), event)
            return True
        if due > until or ret <= due:
            return False
        self.report.wrong("waiters", "not served within %.3f ms, with all faults taken back at %s" % (
            self.bound / MS, self.report.ms(heal)), event)
        return True

    # -- 6: in their order --

    def turns(self, name):
        """In each calm window: of those that asked within it nobody was served while somebody older still waited."""
        calls = [event for event in self.locks[name] + self.pending if event.name == name and event.value == "-"]
        calls.sort(key=lambda event: event.call)
        told = set()
        for heal, until in self.phases():
            begin = max([heal + self.settle] + [after for before, after in self.history.aheads if before <= heal])
            within = [Turn(event, self.waited_until(event)) for event in calls if begin <= event.call < until]
            granted = [turn for turn in within if turn.event.result == "ok" and turn.event.ret < until]
            self.count_turns(within, granted)
            self.overtaken(within, sorted(granted, key=lambda turn: turn.event.ret), told)

    def waited_until(self, event):
        """Until then it waited for certain. Who gave up, or was killed, had left the queue some time before that was told."""
        if event.result == "ok":
            return event.ret
        if event.ret is not None:
            return event.ret - self.margin
        killed = self.history.kill_of(event.proc)
        return killed.before - self.margin if killed else FOREVER

    def count_turns(self, within, granted):
        """How many of them asked while somebody waited who had asked earlier by more than the margin."""
        calls = [turn.event.call for turn in within]
        longest = []
        for turn in within:
            longest.append(max(turn.until, longest[-1]) if longest else turn.until)
        for turn in granted:
            older = bisect_left(calls, turn.event.call - self.margin)
            self.in_turn += older > 0 and longest[older - 1] > turn.event.call

    def overtaken(self, within, granted, told):
        waiting = []
        place = 0
        for turn in granted:
            event = turn.event
            while place < len(within) and within[place].event.call < event.ret:
                waiting.append(within[place])
                place += 1
            waiting = [other for other in waiting if other.until > event.ret]
            for other in waiting:
                older = other.event
                # Readers are let in together; which of them hears of it first is chance.
                if older.call + self.margin < event.call and "X" in (older.mode, event.mode) and older not in told and \
                        not self.was_late(older, event.ret):
                    told.add(older)
                    self.report.wrong("order", "served while somebody waited who had asked %.3f ms earlier, with no fault since" % (
                        (event.call - older.call) / MS), older, event)

    def was_late(self, event, until):
        """Whether its process stood still on its way into the queue, or in it."""
        return any(begin < until and end > event.call for begin, end in self.history.lates.get(event.proc, ()))

    # -- and together --

    def contention(self, name, grants):
        """How many exclusive locks another process waited for meanwhile."""
        calls = self.locks[name]
        if not calls:
            return
        every = sorted_times(calls)
        own = defaultdict(list)
        for event in calls:
            own[event.proc].append(event)
        own = {proc: sorted_times(events) for proc, events in own.items()}
        for grant in grants:
            if grant.mode == "X" and grant.end > grant.start:
                others = overlapping(every, grant) - overlapping(own[grant.event.proc], grant)
                self.contended += others > 0
        for event in calls:
            if event.result == "ok" and (not self.longest or event.ret - event.call > self.longest.ret - self.longest.call):
                self.longest = event

    def count_grants(self, mode):
        return sum(grant.mode == mode and grant.event.ret is not None for grants in self.grants.values() for grant in grants)

    def faults(self):
        """By their first word; of those that are told as `begin WORD` and `end WORD` each is one."""
        words = (fault.words.split(" ") for fault in self.history.faults)
        return Counter(word[1] if word[0] == "begin" and len(word) > 1 else word[0] for word in words if word[0] != "end")

    def enough(self):
        grants = self.count_grants("X") + self.count_grants("S")
        faults = sum(self.faults().values())
        if grants < self.min_grants:
            self.report.wrong("trivial", "only %d grants: at least %d are wanted" % (grants, self.min_grants))
        if faults < self.min_faults:
            self.report.wrong("trivial", "only %d faults: at least %d are wanted" % (faults, self.min_faults))

    def summarize(self):
        history, report = self.history, self.report
        events = sum(map(len, history.events.values()))
        words = self.faults()
        lines = [
            "processes: %d, %d killed" % (len({proc for proc, _ in history.events} | set(history.kills)), len(history.kills)),
            "events: %d in %.3f s, %d last lines cut off" % (events, (history.last - history.first) / SECOND, history.cut_lines),
            "grants: %d exclusive, %d shared" % (self.count_grants("X"), self.count_grants("S")),
            "contended: %d exclusive grants while another process wanted the lock" % self.contended,
            "register: %d reads and writes accepted" % sum(map(len, self.registers.values())),
            "faults: %d%s, %d heals" % (sum(words.values()), "".join(" %s %d" % pair for pair in sorted(words.items())), len(history.heals)),
            "longest wait: " + ("none" if not self.longest else "%.3f ms, %s" % (
                (self.longest.ret - self.longest.call) / MS, history.tell_where(self.longest.where))),
        ]
        if self.order:
            lines.append("order: %d grants judged, while somebody waited who had asked before" % self.in_turn)
        lines += ["note: %s: %d" % pair for pair in sorted(report.notes.items())]
        lines += ["bad input: %d" % len(history.bad)] if history.bad else []
        lines += ["violations: %d" % len(report.violations)]
        report.summary = lines


def sorted_times(calls):
    return sorted(event.call for event in calls), sorted(event.ret for event in calls)


def overlapping(times, grant):
    """How many of the calls lie in part within it: those that began before its end, without those that ended before."""
    begun, ended = times
    return bisect_left(begun, grant.end) - bisect_right(ended, grant.start)


def usage(text):
    sys.stderr.write("checker.py: %s\n%s" % (text, __doc__))
    return 2


def main(arguments):
    settings = {}
    try:
        options, rest = getopt.getopt(arguments, "h", ["bound=", "grace=", "quorum-timeout=", "min-grants=", "min-faults=", "tokenless=",
                                                       "order=", "settle=", "margin=", "help"])
        for option, value in options:
            if option in ("-h", "--help"):
                sys.stdout.write(__doc__)
                return 0
            if option in ("--tokenless", "--order"):
                settings[option[2:]] = settings.get(option[2:], ()) + (value,)
                continue
            settings[option[2:].replace("-", "_")] = int(value) if option.startswith("--min-") else int(float(value) * SECOND)
    except (getopt.GetoptError, ValueError) as error:
        return usage(error)
    if len(rest) != 1:
        return usage("one folder")
    # A million small objects that all stay: looking for cycles among them only takes time.
    gc.disable()
    history = History()
    history.read_folder(rest[0])
    report = Check(history, **settings).run()
    report.tell(sys.stdout)
    return report.status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

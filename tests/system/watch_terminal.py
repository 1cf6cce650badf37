#!/usr/bin/python3
"""watch_terminal.py DLOCK - dlock --watch on a terminal.

A pseudo-terminal with as much of a terminal behind it as --watch needs; what it does
not know is an error. Tells each case as a line of TAP without a number. The last line
is "end"; without it, it ended early.
"""
import errno
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

LIMIT = 20.0  # what has not come by then never does
DLOCK = sys.argv[1]
HEAD = ["NAME", "MODE", "HOST", "PID", "PROGRAM", "HELD", "TOKEN", "MASTERS", "WAITERS"]


def check(description, good, *got):
    print("%sok - %s" % ("" if good else "not ", description))
    if not good:
        print("# got: %s" % " | ".join(str(each) for each in got))
    sys.stdout.flush()


class Screen:
    """What stands on it, and how it came there."""

    def __init__(self, rows, columns):
        self.modes = {1049: False, 25: True, 7: True}
        self.kept = ""
        self.scrolls = 0
        self.wrong = []
        self.resize(rows, columns)

    def resize(self, rows, columns):
        """As a terminal that keeps nothing: all must be drawn anew."""
        self.rows, self.columns = rows, columns
        self.lines = [["?"] * columns for _ in range(rows)]
        self.row = self.column = 0

    def feed(self, text):
        self.kept += text
        while self.kept:
            sequence = re.match(r"\033\[(\??)([0-9;]*)([A-Za-z])", self.kept)
            if sequence:
                self.obey(*sequence.groups())
                self.kept = self.kept[sequence.end():]
            elif self.kept[0] == "\033":
                if len(self.kept) > 12:
                    self.wrong.append(repr(self.kept[:12]))
                    self.kept = ""
                return
            else:
                self.put(self.kept[0])
                self.kept = self.kept[1:]

    def obey(self, private, number, letter):
        if private and letter in "hl" and int(number) in self.modes:
            self.modes[int(number)] = letter == "h"
        elif letter == "H" and not number:
            self.row = self.column = 0
        elif letter in "KJ" and not number:
            last = self.columns - 1
            for column in range(min(self.column, last), self.columns):
                self.lines[self.row][column] = " "
            for row in range(self.row + 1, self.rows if letter == "J" else 0):
                self.lines[row] = [" "] * self.columns
        else:
            self.wrong.append("ESC [ %s%s%s" % (private, number, letter))

    def put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            if self.row + 1 < self.rows:
                self.row += 1
            else:
                self.scrolls += 1
        elif character < " ":
            self.wrong.append(repr(character))
        else:
            if self.modes[7] and self.column >= self.columns:
                self.wrong.append("a line that wraps")
            self.lines[self.row][min(self.column, self.columns - 1)] = character
            self.column += 1

    def text(self):
        return ["".join(line).rstrip() for line in self.lines]

    def is_restored(self):
        return self.modes == {1049: False, 25: True, 7: True}


class Watch:
    """dlock --watch as the job of a shell: a session leader that waits for it and tells what becomes of it."""

    def __init__(self, *options, rows=24, columns=100, kind="xterm"):
        self.screen = Screen(rows, columns)
        self.raw = ""
        self.master, slave = os.openpty()
        self.size(rows, columns, False)
        self.modes = termios.tcgetattr(slave)
        self.slave = slave
        self.news, news = os.pipe()
        self.shell = os.fork()
        if self.shell == 0:
            self.be_shell(slave, news, [DLOCK, "--watch", *options], kind)
        os.close(news)
        self.pid = int(self.told())

    def be_shell(self, slave, news, command, kind):
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(slave, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            for number in (0, 1, 2):
                os.dup2(slave, number)
            os.environ["TERM"] = kind
            os.execv(command[0], command)
        os.write(news, b"%d\n" % child)
        while True:
            _, status = os.waitpid(child, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                os.write(news, b"stopped\n")
                continue
            os.write(news, b"signal %d\n" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else b"status %d\n" % os.WEXITSTATUS(status))
            while True:
                signal.pause()  # the terminal lasts as long as its session's leader

    def told(self):
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self.news], [], [], LIMIT)[0]:
                return "nothing"
            line += os.read(self.news, 1)
        return line.decode().strip()

    def size(self, rows, columns, resizes=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if resizes:
            self.screen.resize(rows, columns)

    def read(self, seconds):
        """True if something came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            text = os.read(self.master, 65536).decode("utf-8", "replace")
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.raw += text
        self.screen.feed(text)
        return True

    def until(self, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                return False
            self.read(0.05)
        return True

    def shows(self, pattern):
        return self.until(lambda: any(re.search(pattern, line) for line in self.screen.text()))

    def hides(self, pattern):
        return self.until(lambda: not any(re.search(pattern, line) for line in self.screen.text()))

    def is_quiet(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ECHO

    def is_as_before(self):
        return self.until(self.screen.is_restored) and termios.tcgetattr(self.slave) == self.modes

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.kill(self.shell, signal.SIGKILL)
        os.waitpid(self.shell, 0)
        for descriptor in (self.master, self.slave, self.news):
            os.close(descriptor)


class Holders:
    """Holders of locks, each gone when its input ends."""

    def __init__(self, *names):
        self.jobs = [subprocess.Popen([DLOCK, name, "sh", "-c", "echo; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in names]
        for job in self.jobs:
            job.stdout.readline()

    def end(self):
        for job in self.jobs:
            job.stdin.close()
            job.wait(LIMIT)
            job.stdout.close()


def pictures():
    watch = Watch("--interval", "0.2")
    check("a screen of its own, without a cursor", watch.shows("^NAME ") and watch.screen.modes == {1049: True, 25: False, 7: False}, watch.screen.modes)
    text = watch.screen.text()
    check("the time and the interval stand above", re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 0.2 s$", text[0]) and text[1] == "", text[:3])
    check("then the head of the list", text[2].split() == HEAD, text[2])
    check("and nothing below", not any(text[3:]), text[3:])
    check("what is typed is not shown", watch.is_quiet())
    holders = Holders("terminal.b", "terminal.a")
    check("what is held appears, sorted", watch.shows("^terminal.b  ") and watch.screen.text()[3].startswith("terminal.a  exclusive  "), watch.screen.text()[:6])
    holders.end()
    check("and goes, without a trace", watch.hides("^terminal") and not any(watch.screen.text()[3:]), watch.screen.text()[:6])
    begin = len(watch.raw)
    check("pictures follow", watch.until(lambda: watch.raw.count("\033[H", begin) >= 3))
    check("nothing is cleared before it is written over", "\033[2J" not in watch.raw and "\033[H\033" not in watch.raw)
    check("nothing scrolls or wraps, and no other sequence is used", not watch.screen.wrong and not watch.screen.scrolls, watch.screen.wrong, watch.screen.scrolls)
    watch.end()


def sizes():
    names = ["size.%02d" % i for i in range(10)]
    holders = Holders(*names)
    watch = Watch("--interval", "30", rows=40, columns=100)
    check("all of them fit", watch.shows("^size.09 "))
    full = watch.screen.text()
    watch.size(6, 100)
    check("a lower one is filled at once, and tells how much is missing", watch.shows("^and 8 more lines$") and watch.screen.text()[:5] == full[:5], watch.screen.text())
    watch.size(13, 100)
    check("one in which all fit tells all", watch.shows("^size.09 ") and watch.screen.text() == full[:13], watch.screen.text())
    watch.size(12, 100)
    check("one line less, and two are missing", watch.shows("^and 2 more lines$") and watch.screen.text()[:11] == full[:11], watch.screen.text())
    watch.size(13, 20)
    check("a narrow one cuts lines off", watch.shows("^size.09 ") and watch.screen.text() == [line[:20].rstrip() for line in full[:13]], watch.screen.text())
    for columns in range(1, 40):
        watch.size(13, columns)
        if not watch.until(lambda: watch.screen.text() == [line[:columns].rstrip() for line in full[:13]]):
            check("any width", False, columns, watch.screen.text())
            break
    else:
        check("any width", True)
    watch.size(1, 100)
    check("a single line", watch.shows("^and 13 more lines$"), watch.screen.text())
    watch.size(1, 1)
    watch.read(1)
    watch.size(40, 100)
    check("and all again", watch.shows("^size.09 ") and watch.screen.text()[:13] == full[:13], watch.screen.text())
    check("nothing scrolls or wraps at any size", not watch.screen.wrong and not watch.screen.scrolls, watch.screen.wrong, watch.screen.scrolls)
    watch.end()
    holders.end()


def ends():
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        watch = Watch("--interval", "30")
        watch.shows("^NAME ")
        if number == signal.SIGINT:
            os.write(watch.master, b"\x03")
        else:
            os.kill(watch.pid, number)
        told = watch.told()
        check("%s ends it as it ends anything" % number.name, told == "signal %d" % number, told)
        check("%s: the terminal is as before" % number.name, watch.is_as_before(), watch.screen.modes, watch.raw[-40:])
        watch.end()


def stops():
    watch = Watch("--interval", "30")
    watch.shows("^NAME ")
    for _ in range(2):
        os.write(watch.master, b"\x1a")
        told = watch.told()
        check("^Z stops it", told == "stopped", told)
        check("and the terminal is as before", watch.is_as_before(), watch.screen.modes)
        watch.screen.resize(24, 100)
        os.kill(watch.pid, signal.SIGCONT)
        check("when it goes on it has its screen again", watch.shows("^NAME ") and watch.screen.modes[1049] and watch.is_quiet(), watch.screen.text()[:4])
    os.kill(watch.pid, signal.SIGSTOP)
    watch.told()
    watch.screen = Screen(24, 100)  # as a shell leaves it
    termios.tcsetattr(watch.slave, termios.TCSANOW, watch.modes)
    os.kill(watch.pid, signal.SIGCONT)
    check("nor does SIGSTOP spoil it", watch.shows("^NAME ") and watch.screen.modes == {1049: True, 25: False, 7: False} and watch.is_quiet(), watch.screen.modes)
    os.kill(watch.pid, signal.SIGCONT)
    watch.read(1)
    watch.read(1)
    os.write(watch.master, b"\x1a")
    watch.told()
    os.kill(watch.pid, signal.SIGTERM)
    os.kill(watch.pid, signal.SIGCONT)
    told = watch.told()
    check("what is stopped can be ended", told == "signal %d" % signal.SIGTERM and watch.is_as_before(), told)
    watch.end()


def masters(action):
    subprocess.run(["kill", "-" + action, *os.environ["MASTERS"].split()], check=True)


def without_quorum():
    holders = Holders("quorum")
    watch = Watch("--interval", "0.2")
    watch.shows("^quorum ")
    masters("STOP")
    check("without a quorum it says so, each master in a line", watch.shows("^no quorum ") and watch.shows("^  unix:"), watch.screen.text())
    check("and shows no list that may be old", watch.hides("^quorum "), watch.screen.text())
    masters("CONT")
    check("and goes on", watch.shows("^NAME "), watch.screen.text())
    check("nothing wraps", not watch.screen.wrong, watch.screen.wrong)
    watch.end()
    holders.end()


def without_screen():
    for kind in ("dumb", ""):
        watch = Watch("--interval", "0.2", kind=kind)
        check("TERM='%s': lists below each other" % kind, watch.until(lambda: watch.raw.count("NAME") >= 3) and "\033" not in watch.raw, watch.raw[:200])
        watch.end()


pictures()
sizes()
ends()
stops()
without_quorum()
without_screen()
print("end")

"""A Redlock client of the plainest kind, for fairness.sh: SET NX PX on all masters, a majority of them or everything
given back by the usual script, and another try after 200 ms, more or less.

  hold NAME MS        take NAME, print "held", give it back when standard input ends, print "released"
  die NAME MS         take NAME, print the wall clock's milliseconds at which its keys can end at the earliest, and end
  patient NAME LOG    take NAME as soon as it can be got, print "refused" if that is not at the first try, append
                      "foreign" to LOG, give it back
  greedy NAME LOG     the same, without any pause between two tries
  again NAME TIMES    take NAME, print "held"; when standard input ends give it back and take it again at once, so many
                      times, with as many tries as that takes; print how often the first try got it
  count NAME FILE N   add 1 to the number in FILE N times, each under the lock
  split NAME          have NAME on masters 1 and 2 for one client and on 3 for another, print "held"; after a line of
                      standard input ask for 4 and 5 until the first has them too, print "got"; give all back when
                      standard input ends

and what the masters themselves know:

  queue NAME COUNT    status 0 if so many wait for NAME on each of them
  asked               print how many scripts they have run

The masters come from DLOCK_SERVERS ("127.0.0.1:port,...").
"""
import os
import random
import socket
import sys
import time

RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class Master:
    """One connection, in the protocol's own words."""

    def __init__(self, address):
        host, port = address.split(":")
        connection = socket.create_connection((host, int(port)), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = connection.makefile("rwb")

    def send(self, *words):
        self.stream.write(b"*%d\r\n" % len(words))
        for word in words:
            data = str(word).encode()
            self.stream.write(b"$%d\r\n%s\r\n" % (len(data), data))
        self.stream.flush()

    def receive(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2].decode()
        if kind not in (b"+", b":"):
            raise OSError(f"a master says {line!r}")
        return int(rest) if kind == b":" else rest.decode()


masters = [Master(address) for address in os.environ["DLOCK_SERVERS"].split(",")]
majority = len(masters) // 2 + 1


def ask(*words, where=None):
    """All at once, as Redlock clients do."""
    asked = masters if where is None else where
    for master in asked:
        master.send(*words)
    return [master.receive() for master in asked]


class Lock:
    def __init__(self, name, ms=30000):
        self.name, self.ms = name, int(ms)
        self.value = f"{random.getrandbits(160):040x}"

    def set(self, where=None):
        return ask("SET", self.name, self.value, "NX", "PX", self.ms, where=where).count("OK")

    def acquire(self):
        """One try. Validity is counted from its beginning, less 1 % and 2 ms, as Redlock has it."""
        begin = time.monotonic()
        got = self.set()
        if got >= majority and time.monotonic() - begin < self.ms * 0.99 / 1000 - 0.002:
            return True
        self.release()
        return False

    def release(self):
        ask("EVAL", RELEASE, 1, self.name, self.value)

    def patiently(self, pause=lambda: random.uniform(0.1, 0.3)):
        while not self.acquire():
            time.sleep(pause())


def say(word):
    print(word, flush=True)


def hold(name, ms):
    lock = Lock(name, ms)
    lock.patiently()
    say("held")
    sys.stdin.read()
    lock.release()
    say("released")


def die(name, ms):
    # The clock of Redis is the wall clock, and is read later than here.
    begin = time.time() * 1000
    Lock(name, ms).patiently()
    say(int(begin) + int(ms))


def patient(name, log, **how):
    lock = Lock(name)
    if not lock.acquire():
        say("refused")
        lock.patiently(**how)
    with open(log, "a", encoding="ascii") as file:
        file.write("foreign\n")
    lock.release()


def greedy(name, log):
    patient(name, log, pause=lambda: 0)


def again(name, times):
    lock = Lock(name)
    first = 0
    lock.patiently()
    say("held")
    sys.stdin.read()
    for _ in range(int(times)):
        lock.release()
        if lock.acquire():
            first += 1
        else:
            lock.patiently()
    lock.release()
    say(first)


def count(name, path, times):
    lock = Lock(name)
    for _ in range(int(times)):
        lock.patiently()
        with open(path, encoding="ascii") as file:
            number = int(file.read())
        # Long enough for another to come between, if it could.
        time.sleep(0.002)
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{number + 1}\n")
        lock.release()


def split(name):
    one, other = Lock(name), Lock(name)
    if one.set(masters[:2]) != 2 or other.set(masters[2:3]) != 1:
        raise OSError("the masters are not free")
    say("held")
    if sys.stdin.readline():
        while ask("GET", name).count(one.value) < 4:
            one.set(masters[3:])
            time.sleep(0.02)
        say("got")
        sys.stdin.read()
    one.release()
    other.release()


def queue(name, wanted):
    return 0 if ask("ZCARD", f"dlock!queue:{name}") == [int(wanted)] * len(masters) else 1


def asked():
    """Those of libdlock: they come as EVALSHA, ours as EVAL."""
    total = 0
    for text in ask("INFO", "commandstats"):
        for line in text.splitlines():
            if line.startswith("cmdstat_evalsha:calls="):
                total += int(line.split("=")[1].split(",")[0])
    say(total)


actions = {"hold": hold, "die": die, "patient": patient, "greedy": greedy, "again": again, "count": count, "split": split,
           "queue": queue, "asked": asked}
sys.exit(actions[sys.argv[1]](*sys.argv[2:]))

"""The Lock of Python's redis package (Debian: python3-redis), which knows ONE master: the
first of those named. Its default settings, and the lease of the others.

The commands are those of driver.cjs. In flight are its asyncio Locks, on a pool of
connections: without a limit it would open one for each of them.
"""
import os
import resource
import statistics
import sys
import time

MINE = "bench-%d" % os.getpid()
LEASE_S = 10
CONNECTIONS = 50


def say(*words):
    print(" ".join(" ".join(str(word) for word in words).split()), flush=True)


try:
    import asyncio

    import redis
    import redis.asyncio
except ImportError as error:
    say("cannot", "not installed: python3-redis (%s)" % error)
    sys.exit(1)


def cpu_ns():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e9


def pairs(client, count):
    took = []
    used = cpu_ns()
    for _ in range(count):
        begin = time.monotonic_ns()
        lock = client.lock(MINE, timeout=LEASE_S)
        lock.acquire()
        lock.release()
        took.append(time.monotonic_ns() - begin)
    used = cpu_ns() - used
    return int(statistics.median(took)), int(used / count)


async def fly(client, at_once, count):
    begun = 0

    async def slot(name):
        nonlocal begun
        while begun < count:
            begun += 1
            lock = client.lock(name, timeout=LEASE_S, thread_local=False)
            await lock.acquire()
            await lock.release()

    await asyncio.gather(*(slot("%s-%d" % (MINE, i)) for i in range(at_once)))


async def flight(host, port, at_once, count):
    pool = redis.asyncio.BlockingConnectionPool(host=host, port=port, max_connections=CONNECTIONS, timeout=None)
    client = redis.asyncio.Redis(connection_pool=pool)
    await fly(client, at_once, at_once)
    begin, used = time.monotonic_ns(), cpu_ns()
    await fly(client, at_once, count)
    took, used = time.monotonic_ns() - begin, cpu_ns() - used
    await pool.disconnect()
    return count * 1e9 / took, int(used / count)


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    client = redis.Redis(host=host, port=int(port))
    client.ping()
    held = None
    say("ok")
    for line in sys.stdin:
        command, *words = line.split()
        try:
            if command == "pairs":
                say("ok", *pairs(client, int(words[0])))
            elif command == "flight":
                say("ok", *asyncio.run(flight(host, int(port), int(words[0]), int(words[1]))))
            elif command == "lock":
                held = client.lock(words[0], timeout=LEASE_S)
                held.acquire()
                say("ok", time.monotonic_ns())
            elif command == "unlock":
                begin = time.monotonic_ns()
                held.release()
                say("ok", begin)
            else:
                say("cannot", "no such command: %s" % command)
        except Exception as error:
            say("cannot", error or type(error).__name__)


main()

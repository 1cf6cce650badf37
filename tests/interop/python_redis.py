"""A user of redis-py's Lock, for python_redis.sh.

  hold NAME SECONDS   take NAME, print "held", give it back when standard input
                      ends, print "released"
  try NAME            one attempt: status 0 if it was got (and given back), 1 if not
  count NAME FILE N   add 1 to the number in FILE N times, each under the lock

The master is the one in DLOCK_SERVERS ("127.0.0.1:port").
"""
import os
import random
import sys
import time

import redis

host, port = os.environ["DLOCK_SERVERS"].split(":")
client = redis.Redis(host=host, port=int(port))


def hold(name, seconds):
    with client.lock(name, timeout=float(seconds)):
        print("held", flush=True)
        sys.stdin.read()
    print("released")
    return 0


def attempt(name):
    lock = client.lock(name, timeout=5)
    if not lock.acquire(blocking=False):
        return 1
    lock.release()
    return 0


def count(name, path, times):
    for _ in range(int(times)):
        with client.lock(name, timeout=10, sleep=0.02):
            with open(path, encoding="ascii") as file:
                number = int(file.read())
            time.sleep(0.002)
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{number + 1}\n")
        # Neither of the two has a queue that the other stands in: whoever came
        # again at once would hardly let anybody else in.
        time.sleep(random.uniform(0, 0.03))
    return 0


sys.exit({"hold": hold, "try": attempt, "count": count}[sys.argv[1]](*sys.argv[2:]))

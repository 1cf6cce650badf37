#!/usr/bin/env python3
"""stale_fence.py DLOCK - a master that comes back with an old snapshot, and a reader.

All masters know the fence F0 of a name; master 5 saves it. An exclusive lock is granted by 1, 4
and 5 with F1. Master 5 is killed, comes back with what it had saved, and waits out its
quarantine. Then a reader that reaches 2, 3 and 5 is granted the lock: its token must be
above that of the exclusive one. 5 is the only master that has forgotten anything.

Exit status: 0 when it is, 1 when it is not.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import servers
from director import free_port

MAX_TTL_MS = 5000


def token(dlock, masters, reached, *options):
    addresses = [masters[number].address[1] if number in reached else free_port() for number in masters]
    result = subprocess.run([dlock, "--servers", ",".join(f"127.0.0.1:{port}" for port in addresses), "-w", "3", *options,
                             "job", "sh", "-c", "echo $DLOCK_TOKEN"], check=True, stdout=subprocess.PIPE)
    return int(result.stdout)


def play(dlock, masters):
    every = ",".join(f"127.0.0.1:{master.address[1]}" for master in masters.values())
    subprocess.run([dlock, "--servers", every, "--init", "--max-ttl", str(MAX_TTL_MS), "--yes"], check=True,
                   stdout=subprocess.DEVNULL)
    first = token(dlock, masters, (1, 2, 3, 4, 5))
    masters[5].ask("SAVE")
    before = token(dlock, masters, (1, 4, 5))
    masters[5].kill()
    masters[5].start()
    masters[5].wait_ready()
    token(dlock, masters, (1, 2, 3, 4, 5), "--prefix", "other:")
    time.sleep(MAX_TTL_MS / 1000 + 0.5)
    after = token(dlock, masters, (2, 3, 5), "-s")
    print(f"exclusive {first}, exclusive {before}, then shared {after}")
    return 0 if after > before > first else 1


def main():
    os.environ["DLOCK_TTL"] = "1000"
    folder = tempfile.mkdtemp(prefix="dl-stale-")
    masters = {}
    try:
        for number in servers.KINDS:
            masters[number] = servers.Server(number, folder, servers.find_program(None), ("127.0.0.1", free_port()), None)
            masters[number].start()
            masters[number].wait_ready()
        return play(sys.argv[1], masters)
    finally:
        for master in masters.values():
            master.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())

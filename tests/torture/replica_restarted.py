#!/usr/bin/env python3
"""replica_restarted.py DLOCK - a durable master that has become another's copy, restarted.

Master 1 and 2 are durable. A holder has its lock on 1, 3 and 4 only (2 and 5 it cannot
reach). Master 1 is made a replica of 2, has copied everything, and is killed and started
again, as a master, as its configuration says. It has forgotten the holder's lock, and
carries the mark of 2 that says that it forgets nothing: it must not vote before max_ttl has
passed. Otherwise another client gets the lock on 1, 2 and 5 while the holder has it.

Exit status: 0 when the other client got the lock only after the holder's lease, 1 when
both had it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import servers
from director import free_port

LEASE_MS = 5000


def bring_up(folder, program):
    masters = {}
    for number in range(1, 6):
        servers.KINDS[number] = ("always", servers.DURABLE) if number <= 2 else ("nothing", ["--appendonly", "no", "--save", ""])
        masters[number] = servers.Server(number, folder, program, ("127.0.0.1", free_port()), None)
        masters[number].start()
    for master in masters.values():
        master.wait_ready()
    return masters


def copy_and_restart(one, other):
    """Until what it has copied is in its own files."""
    one.ask("REPLICAOF", *other.address)
    while b"master_link_status:up" not in one.ask("INFO", "replication"):
        time.sleep(0.01)
    time.sleep(0.1)
    while b"aof_rewrite_in_progress:1" in one.ask("INFO", "persistence"):
        time.sleep(0.01)
    time.sleep(0.1)
    one.kill()
    one.start()
    one.wait_ready()


def play(dlock, masters):
    every = {number: f"127.0.0.1:{master.address[1]}" for number, master in masters.items()}
    reached = {**every, 2: f"127.0.0.1:{free_port()}", 5: f"127.0.0.1:{free_port()}"}
    environment = dict(os.environ, DLOCK_TTL=str(LEASE_MS))
    everyone = [dlock, "--servers", ",".join(every.values())]
    subprocess.run([*everyone, "--init", "--max-ttl", str(LEASE_MS), "--yes"], check=True, stdout=subprocess.DEVNULL,
                   env=environment)
    holder = subprocess.Popen([dlock, "--servers", ",".join(reached.values()), "job", "sh", "-c", "echo held; exec sleep 60"],
                              env=environment, stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        granted = time.monotonic()
        # Its lease runs on, as does its command; only that it cannot repair what is lost.
        holder.send_signal(signal.SIGSTOP)
        copy_and_restart(masters[1], masters[2])
        result = subprocess.run([*everyone, "-w", "10", "job", "true"], env=environment, check=False)
        after = time.monotonic() - granted
    finally:
        holder.send_signal(signal.SIGCONT)
        holder.kill()
    print(f"the other client: status {result.returncode}, {after:.2f} s after the holder, whose lease is {LEASE_MS / 1000} s")
    # Less what the holder takes off its lease for clocks.
    return 0 if result.returncode == 0 and after > LEASE_MS / 1000 * 0.9 else 1


def main():
    folder = tempfile.mkdtemp(prefix="dl-copy-")
    masters = {}
    try:
        masters = bring_up(folder, servers.find_program(None))
        return play(sys.argv[1], masters)
    finally:
        for master in masters.values():
            master.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())

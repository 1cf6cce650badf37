"""The five masters of the torture: started, killed, stopped, asked.

Two are durable (appendfsync always), one syncs each second, one keeps nothing, one has
snapshots only. Each has a clock of its own, by the preload shim of the tests' harness.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import time

from processes import start, end

DURABLE = ["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--save", ""]
KINDS = {
    1: ("always", DURABLE),
    2: ("always", DURABLE),
    3: ("everysec", ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]),
    4: ("nothing", ["--appendonly", "no", "--save", ""]),
    5: ("snapshots", ["--appendonly", "no", "--save", "3600 1"]),
}


class ServerError(Exception):
    """It did not answer, or with an error."""


class Connection:
    """One connection that speaks RESP, with a time limit for everything."""

    def __init__(self, address, timeout=1.0):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(words)
        for word in words:
            request += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(request)
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ServerError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ServerError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest.decode(errors="replace")


class Server:
    """One master. Its folder, clock and port stay the same over all restarts."""

    def __init__(self, number, run, program, address, shim):
        self.number = number
        self.kind, self.settings = KINDS[number]
        self.program, self.address, self.shim = program, address, shim
        self.folder = os.path.join(run, "servers", str(number))
        self.snapshots = os.path.join(run, "servers", "snapshots")
        self.clock = os.path.join(self.folder, "clock")
        self.process = None
        self.farthest_us = 0
        os.makedirs(self.folder)
        os.makedirs(self.snapshots, exist_ok=True)
        self.set_clock(0)

    def set_clock(self, us):
        """Moves its clock to `us` from ours. In place: the server has it mapped."""
        self.farthest_us = max(self.farthest_us, us)
        if not os.path.exists(self.clock):
            with open(self.clock, "wb") as file:
                file.write(bytes(8))
        with open(self.clock, "r+b") as file:
            file.write(struct.pack("=q", us))

    def start(self):
        host, port = self.address
        command = [self.program, "--bind", host, "--port", str(port), "--protected-mode", "no",
                   "--dir", self.folder, "--daemonize", "no", "--maxmemory-policy", "noeviction",
                   "--repl-diskless-sync-delay", "0", "--rdbcompression", "no"] + self.settings
        environment = dict(os.environ, DLOCK_TEST_CLOCK=self.clock)
        if self.shim:
            environment["LD_PRELOAD"] = self.shim
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = start(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def kill(self):
        end(self.process, signal.SIGKILL)
        self.process = None

    def signal(self, number):
        if self.process:
            self.process.send_signal(number)

    def ask(self, *words, timeout=1.0):
        try:
            with Connection(self.address, timeout) as wire:
                return wire.ask(*words)
        except (OSError, ValueError) as error:
            raise ServerError(str(error)) from error

    def wait_ready(self, seconds=20):
        until = time.monotonic() + seconds
        while True:
            try:
                if self.ask("PING") == "PONG":
                    return
            except ServerError:
                pass
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                raise ServerError(f"master {self.number} does not come up: see {self.folder}/log")
            time.sleep(0.02)

    # --- snapshots ------------------------------------------------------------------------

    def take_snapshot(self):
        """Saves, and keeps the file for later: only the master with snapshots is asked to."""
        self.ask("SAVE", timeout=5.0)
        shutil.copy(os.path.join(self.folder, "dump.rdb"), os.path.join(self.snapshots, "old.rdb"))

    def put_back_snapshot(self):
        """While it is down. False when none was taken yet."""
        old = os.path.join(self.snapshots, "old.rdb")
        if not os.path.exists(old):
            return False
        shutil.copy(old, os.path.join(self.folder, "dump.rdb"))
        return True

    # --- what is left in the end --------------------------------------------------------------

    def keys_of_locks(self):
        """The keys of locks and their data. Not by SCAN's types: whatever is there counts."""
        with Connection(self.address, 10.0) as wire:
            keys = wire.ask("KEYS", "*")
            # KEYS may tell of one that has expired and was not yet removed.
            return sorted(key.decode(errors="replace") for key in keys
                          if (key.startswith(b"dlock:") or key.startswith(b"dlock!data:")) and wire.ask("EXISTS", key))


def find_program(wanted):
    for name in [wanted] if wanted else ["redis-server", "valkey-server"]:
        found = shutil.which(name)
        if found:
            return found
    return None


def compile_shim(source, target, cc):
    subprocess.run([*cc.split(), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-o", target, source, "-ldl"],
                   check=True, stdin=subprocess.DEVNULL)

"""The director: brings up masters, networks and clients, and lets happen what was planned.

History, beside the clients' own files, in history/director.log:

    f TIME begin|end KIND WORDS...   a fault
    k PROC BEFORE AFTER              a client was killed between these times
    heal TIME                        all faults have been taken back
    ahead TIME TIME                  between these tickets may be those of a clock that was ahead
    end TIME                         all clients have given back and ended
    left MASTER KEY                  what is still on a master although every lease is over
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import faults
import network
import processes
import summary
from clients import CROWD, CROWD_THREADS, GROUPS, LEASES_MS, NAMES, Client, Mount
from plan import MAX_TTL, QUORUM_TIMEOUT, Plan
from processes import boot_ns
from servers import KINDS, Server, ServerError

PROXIED = (1, 2, 3)
PORT = 7000


class Stopped(Exception):
    """By a signal."""


def free_port():
    """Below those that the system gives to connections: it must stay free while a master is down."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Run:
    """All that there is during one run, and how it comes and goes."""

    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.here = os.path.dirname(os.path.abspath(__file__))
        for name in ("history", "output", "config", "mounts", "servers"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        self.log = open(os.path.join(self.folder, "history", "director.log"), "a", encoding="utf-8", buffering=1)
        self.servers, self.wires, self.clients, self.mounts = {}, [], [], []
        self.proxy = self.foreign = self.plan = None
        self.stopped, self.failed_ends, self.returning = {}, [], []
        self.counts, self.complaints = Counter(), []
        self.omitted = list(options.omitted)
        self.foreign_flag = os.path.join(self.folder, "foreign-may-play")
        self.environment = dict(os.environ, TORTURE_HISTORY=os.path.join(self.folder, "history"),
                                TORTURE_FOREIGN=self.foreign_flag, TORTURE_WORKER=options.worker,
                                PATH=os.path.join(options.prefix, "bin") + ":" + os.environ["PATH"],
                                LD_LIBRARY_PATH=options.libdir)
        for name in ("DLOCK_SERVERS", "DLOCK_TTL", "DLOCK_PREFIX", "DLOCK_DEBUG"):
            self.environment.pop(name, None)

    # --- records --------------------------------------------------------------------------------

    def write(self, line):
        self.log.write(line + "\n")

    def complain(self, words):
        self.complaints.append(words)
        print("torture: " + words, flush=True)

    def program(self, name):
        return os.path.join(self.options.prefix, "bin", name)

    def config(self, group):
        return os.path.join(self.folder, "config", group + ".conf")

    # --- coming up ------------------------------------------------------------------------------

    def start(self):
        self._start_network()
        for server in self.servers.values():
            server.start()
        for server in self.servers.values():
            server.wait_ready()
        self._start_proxy()
        self._write_configs()
        subprocess.run([self.program("dlock"), "--init", "--max-ttl", str(int(MAX_TTL * 1000)), "--yes"], check=True,
                       env={**self.environment, "DLOCK_CONFIG": self.config("near")}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
        self._make_clients()
        for mount in self.mounts:
            mount.start()
            self.wait(mount.serves, f"the mount {mount.name} does not serve")
        for client in self.clients:
            client.start()

    def wait(self, condition, otherwise, seconds=20):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise ServerError(otherwise)
            time.sleep(0.02)

    def _start_network(self):
        within = self.options.within
        if within:
            network.prepare_hub(KINDS)
            try:
                for index, group in enumerate(("far", "farther")):
                    self.wires.append(network.Wire(group, index, self.folder, KINDS))
            except OSError as error:
                self.omitted.append(f"networks that are cut ({error})")
                self.wires = []
        for number in KINDS:
            address = (network.master_address(number), PORT) if within else ("127.0.0.1", free_port())
            self.servers[number] = Server(number, self.folder, self.options.server, address, self.options.shim)

    def _start_proxy(self):
        self.proxy_ports = [PORT + 100 + number if self.options.within else free_port() for number in PROXIED]
        routes = [f"{port}:{self.servers[number].address[0]}:{self.servers[number].address[1]}"
                  for port, number in zip(self.proxy_ports, PROXIED)]
        with open(os.path.join(self.folder, "output", "proxy"), "ab") as output:
            self.proxy = processes.start([sys.executable, os.path.join(self.here, "proxy.py"), *routes], cwd=self.folder,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output)
        self.proxy.stdout.readline()

    def tell_proxy(self, command):
        self.proxy.stdin.write(command.encode() + b"\n")
        self.proxy.stdin.flush()

    def _write_configs(self):
        for group in GROUPS:
            addresses = {number: server.address for number, server in self.servers.items()}
            if group == "proxied":
                addresses.update({number: ("127.0.0.1", port) for port, number in zip(self.proxy_ports, PROXIED)})
            with open(self.config(group), "w", encoding="ascii") as file:
                file.write(f"servers = {', '.join(f'{host}:{port}' for host, port in addresses.values())}\n"
                           f"ttl = {LEASES_MS[group]}\nmax_ttl = {int(MAX_TTL * 1000)}\nquorum_timeout = {int(QUORUM_TIMEOUT * 1000)}\n" +
                           ("quarantine = off\n" if self.options.sabotage else ""))

    def _client(self, name, kind, command, group="near", **environment):
        wires = {wire.group: wire.pid for wire in self.wires}
        environment["DLOCK_CONFIG"] = self.config(group)
        self.clients.append(Client(name, kind, command, self, wires.get(group), environment))

    def _make_clients(self):
        worker, seed = self.options.worker, f"{self.options.seed}@SEED@"
        reached = {"near", "proxied", *(wire.group for wire in self.wires)}
        for group in GROUPS:
            if group in reached:
                self._client(f"locks-{group}", "locks", [worker, "locks", "@PROC@", seed, "6", *NAMES], group)
        for number, group in enumerate(CROWD, 1):
            self._client(f"crowd-{number}", "crowd", [worker, "crowd", "@PROC@", seed, str(CROWD_THREADS), "crowd"],
                         group if group in reached else "near")
        for group in ("near", "far", "proxied"):
            if group in reached:
                self._client(f"loop-{group}", "loop", ["bash", os.path.join(self.here, "loop.sh"), *NAMES], group,
                             TORTURE_PID=os.path.join(self.folder, "output", f"loop-{group}.pid"))
        if not self.options.mounts:
            return
        for name, mode in (("create-1", "create"), ("create-2", "create"), ("flock-1", "flock"), ("flock-2", "flock")):
            mount = Mount(name, mode, self)
            self.mounts.append(mount)
            kind = "mkdir" if mode == "create" else "flock"
            self._client(f"files-{name}", kind, [worker, kind, "@PROC@", seed, mount.point, *NAMES], TORTURE_MOUNT=name)

    # --- cycles ----------------------------------------------------------------------------------

    def begin_cycle(self, kind):
        if kind != "foreign":
            return
        addresses = ",".join(f"{host}:{port}" for host, port in (server.address for server in self.servers.values()))
        if self.foreign is None:
            offset = boot_ns() - time.monotonic_ns()
            self.foreign = Client("foreign", "foreign", ["node", os.path.join(self.here, "foreign.cjs"), addresses], self,
                                  None, {"NODE_PATH": self.options.node_path, "TORTURE_BOOT_NS": str(offset)})
        with open(self.foreign_flag, "w", encoding="ascii"):
            pass
        self.foreign.start()

    def heal(self, kind):
        """All is taken back already, but for what failed; now it must be well."""
        for event in self.failed_ends:
            if not faults.act(self, event):
                self._mend(event)
        self.failed_ends = []
        for server in self.servers.values():
            server.wait_ready()
            if server.ask("ROLE")[0] != b"master":
                server.ask("REPLICAOF", "NO", "ONE")
        if kind == "foreign":
            os.unlink(self.foreign_flag)
            self.foreign.kill()
        self.write(f"heal {boot_ns()}")

    def _mend(self, event):
        """What could not be taken back is ended with its master."""
        if event.target in self.servers:
            server = self.servers[event.target]
            server.kill()
            server.start()

    def comes_back(self, mount, clients):
        self.returning.append((mount, clients))

    def look_after(self):
        """Clients whose mount serves again, and such as ended by themselves."""
        for mount, clients in list(self.returning):
            if mount.process.poll() is not None:
                mount.start()  # no quorum at that moment: it says so, and ends
            elif mount.serves():
                self.returning.remove((mount, clients))
                for client in clients:
                    client.start()
        for client in self.clients:
            client.check()

    # --- all of it -----------------------------------------------------------------------------------

    def play(self):
        has = {"clocks"} if self.options.shim else set()
        has |= {"mounts"} if self.mounts else set()
        has |= {"foreign"} if self.options.node_path else set()
        self.plan = Plan(self.options.seed, self.options.seconds, has, len(self.wires), len(PROXIED), self.options.sabotage)
        begin = time.monotonic()
        until = begin + self.options.seconds
        for event in self.plan.events:
            while (wait := begin + event.time - time.monotonic()) > 0:
                time.sleep(min(wait, 0.2))
                self.look_after()
            if event.what == "cycle":
                self.begin_cycle(event.kind)
            elif event.what == "heal":
                self.heal(event.kind)
                # The last calm is as long as planned, however late it comes: what is judged in it needs its time.
                until = time.monotonic() + self.options.seconds - event.time
            elif faults.act(self, event):
                self.counts[event.kind] += 1
        while (wait := until - time.monotonic()) > 0:
            time.sleep(min(wait, 0.2))
            self.look_after()

    def finish(self):
        """Everybody gives back; after the longest lease nothing may be left. By the clock that a master had
        when it was farthest ahead: what somebody who was killed had there then ends by that clock."""
        with ThreadPoolExecutor(len(self.clients)) as pool:
            list(pool.map(Client.finish, self.clients))
        for mount in self.mounts:
            mount.finish()
        self.write(f"end {boot_ns()}")
        time.sleep(MAX_TTL + 0.5)
        for server in self.servers.values():
            server.set_clock(server.farthest_us)
            for key in server.keys_of_locks():
                self.write(f"left {server.number} {key}")

    def end(self):
        """Whatever is there, and however far it had come."""
        for client in [*self.clients, *([self.foreign] if self.foreign else [])]:
            processes.end(client.process, signal.SIGKILL)
        for mount in self.mounts:
            processes.end(mount.process, signal.SIGKILL)
            subprocess.run(["umount", "-l", mount.point], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
        for one in [self.proxy, *(server.process for server in self.servers.values()), *(wire.holder for wire in self.wires)]:
            processes.end(one, signal.SIGKILL)


def direct(options):
    """One run; the exit status: 0, or 1 when something went wrong that was not planned."""

    def stop(number, _):
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    run = Run(options)
    status = 1
    try:
        run.start()
        run.play()
        run.finish()
        status = 1 if run.complaints else 0
    except Stopped as word:
        print(f"torture: stopped by {signal.Signals(word.args[0]).name}", flush=True)
        status = 128 + word.args[0]
    except (ServerError, OSError, subprocess.SubprocessError) as error:
        print(f"torture: {error}", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        run.end()
    summary.write_counts(run)
    return status

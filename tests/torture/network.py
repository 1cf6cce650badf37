"""Networks that can be cut.

In a namespace of our own each master has an address on the loopback interface, and each
group of clients beyond it a namespace with one wire to us. A cut is a route to a neighbour
that does not exist, or the wire taken down: packets are lost, and nobody is told. That
needs no packet filter, and each direction can be cut for each master by itself.

    hub (masters, proxies, clients of the groups near and proxied)
     |  wire-far      10.77.10.1/24 -- 10.77.10.2    clients of the group far
     |  wire-farther  10.77.11.1/24 -- 10.77.11.2    clients of the group farther
"""

import os
import subprocess
import time

from processes import start

NOWHERE = "02:00:00:00:00:99"


def ip(*words, of=None):
    command = ["ip", *words]
    if of is not None:
        command = ["nsenter", "-t", str(of), "-n", *command]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"{' '.join(command)}: {result.stderr.strip()}")


def master_address(number):
    return f"10.77.0.{number}"


def prepare_hub(masters):
    ip("link", "set", "lo", "up")
    for number in masters:
        ip("addr", "add", f"{master_address(number)}/32", "dev", "lo")


class Wire:
    """The wire to one group of clients."""

    def __init__(self, group, index, run, masters):
        net = f"10.77.{10 + index}"
        self.group, self.index, self.masters = group, index, masters
        self.device, self.peer = f"wire{index}", f"hub{index}"
        self.holder = start(["unshare", "--net", "sleep", "infinity"], cwd=run)
        self.pid = self.holder.pid
        self._wait_for_namespace()
        ip("link", "add", self.device, "type", "veth", "peer", "name", self.peer)
        ip("link", "set", self.peer, "netns", str(self.pid))
        ip("addr", "add", f"{net}.1/24", "dev", self.device)
        ip("link", "set", self.device, "up")
        ip("link", "set", "lo", "up", of=self.pid)
        ip("addr", "add", f"{net}.2/24", "dev", self.peer, of=self.pid)
        ip("link", "set", self.peer, "up", of=self.pid)
        ip("route", "add", "default", "via", f"{net}.1", of=self.pid)
        self._prepare_cuts(net)

    def _wait_for_namespace(self):
        own = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            try:
                if os.readlink(f"/proc/{self.pid}/ns/net") != own:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise OSError("no namespace of its own for the network of " + self.group)

    def _prepare_cuts(self, net):
        """Neighbours that are not there, and a table of routes for the way back."""
        self.net = net
        self.void = f"{net}.250"
        self.table = str(100 + self.index)
        ip("neigh", "replace", self.void, "lladdr", NOWHERE, "nud", "permanent", "dev", self.device)
        ip("neigh", "replace", self.void, "lladdr", NOWHERE, "nud", "permanent", "dev", self.peer, of=self.pid)
        self._restore_table()

    def _restore_table(self):
        ip("route", "replace", "default", "via", self.void, "dev", self.device, "table", self.table)

    def cut_there(self, master):
        ip("route", "replace", f"{master_address(master)}/32", "via", self.void, of=self.pid)

    def mend_there(self, master):
        ip("route", "del", f"{master_address(master)}/32", of=self.pid)

    def cut_back(self, master):
        ip("rule", "add", "from", master_address(master), "to", f"{self.net}.0/24", "lookup", self.table)

    def mend_back(self, master):
        ip("rule", "del", "from", master_address(master), "to", f"{self.net}.0/24", "lookup", self.table)

    def cut_all(self):
        """The kernel forgets the routes and neighbours of a device that goes down; ours stays up,
        and the neighbour of the other side becomes one that does not exist."""
        ip("neigh", "replace", f"{self.net}.2", "lladdr", NOWHERE, "nud", "permanent", "dev", self.device)
        ip("neigh", "replace", f"{self.net}.1", "lladdr", NOWHERE, "nud", "permanent", "dev", self.peer, of=self.pid)

    def mend_all(self):
        ip("neigh", "del", f"{self.net}.2", "dev", self.device)
        ip("neigh", "del", f"{self.net}.1", "dev", self.peer, of=self.pid)

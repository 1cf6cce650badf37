"""When what goes wrong: the whole schedule, from the seed, before anything has begun.

The run is made of cycles: some seconds of faults, then all is taken back (`heal`), then CALM
seconds in which whoever waits must be served. A cycle is one of

    normal    at most two masters at a time are impaired, so that locks go on being taken
    foreign   no master forgets and no clock moves, because another Redlock client, which
              knows nothing of quarantine, takes part at the name "foreign"
    storm     three to five masters at once

What is chosen keeps to what docs/protocol.md assumes; where a rule below says so, the
reason is there:

  1. The files of an old snapshot are put back on masters only that are not durable.
  2. The clocks of at most two masters are off at a time, and a clock that was set comes
     back after longer than the longest lease: back and forth between two contacts is a
     known hole. Steps are far above the margin within which clocks may differ.
  3. After a role flip the connections are cut, as managers of failover do.
  4. A master that is durable is never given other settings.

Whatever number of masters may forget at once (killed, flushed, flipped): quarantine is
what is to be proven there.
"""

import random
from dataclasses import dataclass, field

MAX_TTL = 5.0
BOUND = MAX_TTL + 10.0  # within that whoever waits is served: quarantines, and leases that end by themselves
CALM = BOUND + 1.0
QUORUM_TIMEOUT = 20.0
SETTLE = 8.0            # after that all vote, all are connected, what dead processes held has ended: the order is judged
CYCLE = 29.0
CYCLES = ["normal", "foreign", "storm", "normal", "normal", "foreign"]
GAP = 0.22              # seconds between two faults, on average
CLOCK_HOLD = MAX_TTL + 1.0
DURABLE = (1, 2)
FORGETFUL = (3, 4, 5)

# How often a kind is chosen, and in which cycles.
LIGHT = {
    "client-kill": 8, "script-flush": 5, "kill-worker": 10, "stop-worker": 7, "kill-dlock": 6, "stop-dlock": 3,
    "proxy-cut": 6, "proxy-delay": 4, "proxy-late": 5, "proxy-hole": 3, "cut-there": 4, "cut-back": 4, "cut-all": 3,
    "kill-mount": 1, "kill-files": 2, "kill-foreign": 2,
}
HEAVY = {
    "kill-server": 6, "old-snapshot": 3, "flushall": 3, "role-flip": 3, "out-of-memory": 4, "stop-server": 6, "pause": 5,
}
STORMS = ("flushall", "kill-server", "stop-server", "role-flip", "pause")
FORGETS = ("old-snapshot", "flushall", "role-flip")


@dataclass(order=True)
class Event:
    time: float
    order: int
    what: str = field(compare=False)      # begin, end, heal, cycle
    kind: str = field(compare=False, default="")
    target: object = field(compare=False, default=None)
    amount: float = field(compare=False, default=0.0)


class Plan:
    """The events of one run. `has` are the words for what this machine can do: wires,
    mounts, foreign, clocks."""

    def __init__(self, seed, seconds, has, wires, proxies, sabotage=False):
        self.sabotage = sabotage
        self.random = random.Random(seed)
        self.has, self.wires, self.proxies = has, wires, proxies
        self.events = []
        self.busy = {}       # what -> until when it must be left alone
        self.impaired = {}   # master -> until when it does not vote
        count = max(1, round(seconds / CYCLE))
        length = seconds / count
        for index in range(count):
            self._cycle(index * length, max(length * 0.45, length - CALM), CYCLES[index % len(CYCLES)], index == count - 1)
        self.events.sort()

    def _add(self, time, what, kind="", target=None, amount=0.0):
        self.events.append(Event(time, len(self.events), what, kind, target, amount))

    def _cycle(self, start, length, kind, last):
        if kind == "foreign" and "foreign" not in self.has:
            kind = "normal"
        if self.sabotage:
            kind = "storm"
        end = start + length
        self.busy, self.impaired = {}, {}
        self._add(start, "cycle", kind)
        if kind != "foreign" and "clocks" in self.has:
            self._clocks(start, end, last)
        if kind == "storm":
            storms = 5 if self.sabotage else 2
            for number in range(storms):
                self._storm(start + (number + self.random.random()) * length / storms, end)
        if kind != "foreign":
            self._add(start + self.random.uniform(0, length / 4), "begin", "snapshot", 5)
        time = start
        while (time := time + self.random.expovariate(1 / GAP)) < end - 0.2:
            self._choose(time, end, kind)
        self._add(end, "heal", kind)

    # --- one fault ------------------------------------------------------------------------------

    def _choose(self, time, end, cycle):
        weights = dict(LIGHT)
        if sum(until > time for until in self.impaired.values()) < 2 or cycle == "storm":
            weights.update(HEAVY)
        if self.sabotage:
            weights.update({kind: 30 for kind in FORGETS})
        for kind in list(weights):
            if not self._possible(kind, cycle):
                del weights[kind]
        kind = self.random.choices(list(weights), list(weights.values()))[0]
        self._fault(kind, time, end, cycle)

    def _possible(self, kind, cycle):
        if kind.startswith("cut-"):
            return bool(self.wires)
        if kind in ("kill-mount", "kill-files"):
            return "mounts" in self.has
        if kind == "kill-foreign":
            return cycle == "foreign"
        return cycle != "foreign" or kind not in FORGETS

    def _free(self, time, candidates):
        """One of them that nothing else is done to now."""
        free = [one for one in candidates if self.busy.get(one, 0) <= time]
        return self.random.choice(free) if free else None

    def _span(self, kind, time, end):
        """How long it lasts: short mostly, now and then longer than a lease."""
        low, high = {"pause": (0.05, 1.5), "kill-server": (0.0, 2.0), "old-snapshot": (0.0, 1.0), "role-flip": (0.3, 1.5),
                     "proxy-late": (2.0, 6.0)}.get(kind, (0.1, 4.0))
        return min(low + (high - low) * self.random.random() ** 2, end - time)

    def _fault(self, kind, time, end, cycle):
        amount = self.random.random()
        instant = kind in ("client-kill", "script-flush", "kill-worker", "kill-dlock", "proxy-cut", "kill-mount",
                           "kill-files", "kill-foreign", "flushall")
        span = 0.0 if instant else self._span(kind, time, end)
        target = self._target(kind, time, cycle)
        if target is None:
            return
        self._add(time, "begin", kind, target, amount)
        if not instant:
            self._add(time + span, "end", kind, target, amount)
            self.busy[target] = time + span + 0.1
        if kind in HEAVY:
            forgets = kind in FORGETS or (kind == "kill-server" and target not in DURABLE)
            self.impaired[target] = time + span + (MAX_TTL if forgets else 0.0) + 0.5

    def _target(self, kind, time, cycle):
        masters = list(range(1, 6))
        if kind == "old-snapshot":
            return self._free(time, FORGETFUL[1:])
        if kind == "kill-server" and cycle == "foreign":
            return self._free(time, DURABLE)
        if kind in HEAVY or kind in ("client-kill", "script-flush"):
            return self._free(time, masters)
        if kind.startswith("proxy-"):
            return self._free(time, [("proxy", number) for number in range(self.proxies)])
        if kind in ("cut-there", "cut-back"):
            return self._free(time, [(kind, wire, master) for wire in range(self.wires) for master in masters])
        if kind == "cut-all":
            return self._free(time, [(kind, wire) for wire in range(self.wires)])
        # One of the processes of that kind, whichever there are then.
        return self._free(time, [(kind, self.random.randrange(1000))])

    # --- what is planned for a cycle as a whole ---------------------------------------------------

    def _clocks(self, start, end, last):
        """Rule 2."""
        latest = end - CLOCK_HOLD
        for _ in range(self.random.choice((0, 1, 1, 1, 2))):
            if latest <= start:
                return
            master = self._free(start, range(1, 6))
            time = self.random.uniform(start, latest)
            # Up to 39 s, in the last cycle up to 10: what a clock ahead has done to tickets is forgotten before the
            # last calm ends, so that some order is judged in each run that has more than one cycle.
            step = self.random.choice((-1, 1)) * 0.3 * (33 if last else 130) ** self.random.random()
            self._add(time, "begin", "clock-step", master, step)
            self._add(time + CLOCK_HOLD + self.random.uniform(0, latest - time), "end", "clock-step", master, step)
            self.impaired[master] = end + MAX_TTL

    def _storm(self, time, end):
        """What forgets does so at one blow: a holder must not have renewed between."""
        masters = self.random.sample(range(1, 6), self.random.choice((3, 3, 4, 5)))
        kind = self.random.choice(STORMS[:2] if self.sabotage else STORMS)
        for master in masters:
            if self.busy.get(master, 0) > time or (kind == "role-flip" and master == masters[0]):
                continue
            at = time + self.random.uniform(0, 0.03)
            if kind == "flushall":
                self._add(at, "begin", kind, master)
                continue
            span = 0.0 if kind == "kill-server" and self.random.random() < 0.5 else self._span(kind, at, end)
            self._add(at, "begin", kind, master, self.random.random())
            self._add(at + span, "end", kind, master)
            self.busy[master] = at + span + 0.1

"""checker_random.py - histories by chance that are right, and faults to put into them.

World is a fleet without a library: names with a keeper of locks, and processes that lock,
wait, convert, verify, renew, give up, are too late, and are killed at any moment, written down as
README.md says. FAULTS: by name a function of World and Random that gives the files of
a history with one thing wrong, and the beginning of the violation that must be found; or
(None, None) where this history has no place for it.
"""
import copy

US = 1000
MS = 1000 * US
BOUND = 1000 * MS
SETTINGS = {"bound": BOUND, "min_grants": 1}
START = 5000000 * MS

SEEN = ["conversions to exclusive", "conversions to shared", "conversions that kept the shared lock", "conversions that timed out or were interrupted",
        "interrupted conversions that verify has proven harmless", "kills of holders", "kills of waiters", "kills within an unlock",
        "cut lines", "writes of killed processes that are not told", "grants within an unfinished unlock", "losses",
        "grants after another's deadline and before its unlock", "late writes that are refused", "late writes that are accepted",
        "time-outs and interruptions", "renewals that are not told", "descriptors that are used for another name"]


class Row:
    """A line of an event, with its fields."""

    def __init__(self, proc, fd, op, name, call, ret, result="ok", mode="-", token=None, deadline=None, value=None):
        self.proc, self.fd, self.op, self.name, self.call, self.ret = proc, fd, op, name, call, ret
        self.result, self.mode, self.token, self.deadline, self.value = result, mode, token, deadline, value
        self.line = None  # once it was asked for: there are many histories of the same rows

    def fields(self):
        return ["e", self.proc, self.fd, self.op, self.mode, self.name, self.result] + [
            "-" if field is None else str(field) for field in (self.token, self.call, self.ret, self.deadline, self.value)]

    def text(self):
        if self.line is None:
            self.line = " ".join(map(str, self.fields())) + "\n"
        return self.line


class Hold:
    """A grant and its lines; [start, end) is what its holder could rely on, `until` when the masters forget it."""

    def __init__(self, actor, row, until):
        self.actor, self.proc, self.name, self.mode, self.token = actor, actor.proc, actor.name, row.mode, row.token
        self.grant = row
        self.rows = [row]
        self.start = row.ret
        self.told = until   # the last deadline that the holder was told
        self.until = until
        self.end = None
        self.released = None  # when the masters let go
        self.release = None   # the line
        self.proof = None     # the line that proves that a failed conversion has left it
        self.lost = False

    def cut(self, time):
        if self.end is None:
            self.end = min(time, self.told)

    def keeps(self, time):
        return self.until > time and (self.released is None or self.released > time)


class Actor:
    """A descriptor of a process."""

    def __init__(self, proc, fd, name):
        self.proc, self.fd, self.name = proc, str(fd), name
        self.hold = None
        self.unsure = None  # the hold that a failed conversion may have left
        self.wait = None    # (CALL, mode, how)
        self.busy = 0
        self.known = None


class World:
    def __init__(self, chance, steps=60):
        self.chance = chance
        self.now = START
        self.rows = []
        self.other = []      # lines of the director
        self.kills = {}
        self.tails = {}      # what a killed process wrote last: a cut line
        self.holds = []
        self.seen = set()
        self.fence = {}
        self.value = {}
        self.top = {}        # the largest token that the register has seen
        self.slack = set()   # names where a killed process may have written
        self.names = ["n%d" % i for i in range(chance.randint(1, 3))]
        for name in self.names:
            self.fence[name] = chance.randint(500000, 1000000)
            self.value[name] = chance.choice([1, 17])
            self.top[name] = 0
        self.procs = 0
        self.actors = []
        for _ in range(chance.randint(2, 5)):
            self.new_process()
        for _ in range(steps):
            self.step()
        self.drain()

    def new_process(self):
        self.procs += 1
        for fd in range(3, 3 + self.chance.choice([1, 1, 2])):
            self.actors.append(Actor("p%d" % self.procs, fd, self.chance.choice(self.names)))

    def soon(self):
        return self.chance.randint(10 * US, 400 * US)

    def step(self):
        self.now += self.chance.randint(50 * US, 1500 * US)
        if self.chance.random() < 0.04:
            self.other.append("f %d %s m%d\n" % (self.now, self.chance.choice(["cut", "delay", "restart"]), self.chance.randint(1, 5)))
        elif self.chance.random() < 0.02:
            self.other.append("heal %d\n" % self.now)
        ready = [actor for actor in self.actors if actor.busy <= self.now]
        if not ready:
            return
        actor = self.chance.choice(ready)
        if self.chance.random() < 0.04 and not any(other.proc == actor.proc and other.busy > self.now for other in self.actors):
            self.kill(actor.proc)
            self.new_process()
        elif actor.wait:
            self.waiting(actor)
        elif actor.hold:
            self.holding(actor)
        else:
            self.idle(actor)

    def write(self, actor, op, **fields):
        """A call that begins now. Its end is when the descriptor is free again."""
        row = Row(actor.proc, actor.fd, op, actor.name, fields.pop("call", self.now), self.now + self.soon(), **fields)
        actor.busy = row.ret
        if self.tells(row):
            self.rows.append(Row(row.proc, row.fd, op, row.name, row.call, None, "-", row.mode))
        self.rows.append(row)
        return row

    def tells(self, row):
        """Whether it has told that it begins to do so. If that gives something back it must."""
        return row.op in ("unlock", "close") or self.chance.random() < 0.1

    # -- the keeper of the locks --

    def in_the_way(self, actor, mode):
        return [hold for hold in self.holds if hold.name == actor.name and hold is not actor.hold and hold.keeps(self.now)
                and (mode == "X" or hold.mode == "X")]

    def next_token(self, name, mode):
        if mode == "X":
            self.fence[name] += self.chance.randint(1, 4)
            return 2 * self.fence[name]
        self.fence[name] += self.chance.choice([0, 0, 1])
        return 2 * self.fence[name] + 1

    def grant(self, actor, mode, call, how, token=None):
        until = self.now + self.chance.randint(5 * MS, 60 * MS)
        row = self.write(actor, "lock", call=call, mode=mode, token=token or self.next_token(actor.name, mode), deadline=until,
                         value=how if how != "0" else None)
        for other in self.holds:
            if other.name == actor.name and other.proc != actor.proc and not other.release and other.told <= self.now \
                    and other.proc not in self.kills and "X" in (mode, other.mode):
                self.seen.add("grants after another's deadline and before its unlock")
        actor.hold = Hold(actor, row, until)
        actor.unsure = None
        actor.known = None
        self.holds.append(actor.hold)
        return row

    # -- what a descriptor does without a lock --

    def idle(self, actor):
        chance = self.chance.random()
        if actor.unsure and chance < 0.5:
            self.settle(actor)
        elif chance < 0.05:
            self.write(actor, self.chance.choice(["unlock", "close"]))
            actor.unsure = None
        elif chance < 0.12 and not actor.unsure:
            self.write(actor, "close")
            actor.name = self.chance.choice(self.names)
            self.seen.add("descriptors that are used for another name")
        else:
            self.ask(actor, self.chance.choice("XXS"), self.chance.choice(["0", "0", "0", "nb", "30"]))

    def settle(self, actor):
        """After a conversion that failed."""
        hold = actor.unsure
        if hold.keeps(self.now + MS) and self.chance.random() < 0.7:
            hold.end = None
            actor.hold, actor.unsure = hold, None
            self.extend(actor, "verify")
            hold.proof = hold.rows[-1]
            self.seen.add("interrupted conversions that verify has proven harmless")
        else:
            self.release(actor, hold, "unlock")

    def ask(self, actor, mode, how):
        if not self.in_the_way(actor, mode):
            self.grant(actor, mode, self.now, how)
        elif how == "nb":
            self.write(actor, "lock", mode=mode, result=self.chance.choice(["EWOULDBLOCK", "EAGAIN"]))
        else:
            actor.wait = (self.now, mode, how)

    def waiting(self, actor):
        call, mode, how = actor.wait
        if not self.in_the_way(actor, mode):
            self.grant(actor, mode, call, how)
            actor.wait = None
            unlocks = [row for row in self.rows if row.name == actor.name and row.op == "unlock" and row.ret and row.call <= self.now < row.ret]
            if unlocks:
                self.seen.add("grants within an unfinished unlock")
        elif self.chance.random() < 0.15:
            self.write(actor, "lock", call=call, mode=mode, result="ETIMEDOUT" if how != "0" else self.chance.choice(["EINTR", "ENOLCK"]),
                       value=how if how != "0" else None)
            actor.wait = None
            self.seen.add("time-outs and interruptions")

    # -- and with one --

    def holding(self, actor):
        hold = actor.hold
        if self.now + MS >= hold.until or hold.lost:
            self.late(actor)
            return
        chance = self.chance.random()
        if chance < 0.35:
            self.use(actor)
        elif chance < 0.45:
            self.extend(actor, "verify")
        elif chance < 0.52:
            self.extend(actor, "renew")
        elif chance < 0.55:
            hold.until = max(hold.until, self.now + 30 * MS)
            self.seen.add("renewals that are not told")
        elif chance < 0.58:
            self.extend(actor, "lock")
        elif chance < 0.70:
            self.convert(actor)
        elif chance < 0.92:
            self.release(actor, hold, self.chance.choice(["unlock", "unlock", "unlock", "close"]))

    def extend(self, actor, op):
        hold = actor.hold
        until = max(hold.until, self.now + self.chance.randint(5 * MS, 60 * MS))
        if op == "renew":
            row = Row(actor.proc, actor.fd, "renew", actor.name, None, self.now, token=hold.token, deadline=until)
            self.rows.append(row)
        else:
            row = self.write(actor, op, token=hold.token, deadline=until, mode=hold.mode if op == "lock" else "-")
        hold.rows.append(row)
        hold.told = hold.until = until

    def use(self, actor):
        """Reads, or writes what it has read and one."""
        hold, name = actor.hold, actor.name
        writes = hold.mode == "X" and actor.known is not None and self.chance.random() < 0.7
        if hold.token < self.top[name]:
            self.write(actor, "write" if writes else "read", result="ESTALE", token=hold.token, value=actor.known + 1 if writes else None)
            self.seen.add("late writes that are refused")
            return
        self.top[name] = hold.token
        if writes:
            assert actor.known == self.value[name]
            self.value[name] += 1
        actor.known = self.value[name]
        hold.rows.append(self.write(actor, "write" if writes else "read", token=hold.token, value=actor.known))
        if hold.lost and writes:
            self.seen.add("late writes that are accepted")

    def late(self, actor):
        """Its lease is over, or about to end."""
        hold = actor.hold
        if hold.keeps(self.now):
            hold.released = hold.until
            return
        if hold.lost and self.chance.random() < (0.8 if hold.mode == "X" else 0.2):
            self.use(actor)
            return
        if hold.lost or self.chance.random() < 0.3:
            self.release(actor, hold, self.chance.choice(["unlock", "unlock", "close"]))
            return
        hold.lost = True
        self.seen.add("losses")
        if self.chance.random() < 0.5:
            self.rows.append(Row(actor.proc, actor.fd, "lost", actor.name, None, self.now, result="-", token=hold.token))
            hold.cut(self.now)
        else:
            hold.cut(self.write(actor, "verify", result="ESTALE").ret)

    def convert(self, actor):
        hold, how = actor.hold, self.chance.choice(["nb", "0"])
        others = self.in_the_way(actor, "X")
        if hold.mode == "X":
            hold.cut(self.now)
            hold.released = self.now
            self.grant(actor, "S", self.now, how, hold.token + 1).ret
            actor.hold.start = self.now
            self.seen.add("conversions to shared")
        elif not others:
            hold.cut(self.now)
            hold.released = self.now
            self.grant(actor, "X", self.now, how)
            self.seen.add("conversions to exclusive")
        elif how == "nb":
            self.write(actor, "lock", mode="X", result="EWOULDBLOCK", value="nb")
            self.seen.add("conversions that kept the shared lock")
        elif self.chance.random() < 0.5:
            hold.cut(self.now)
            self.write(actor, "lock", mode="X", result=self.chance.choice(["EINTR", "ETIMEDOUT"]))
            actor.hold, actor.unsure = None, hold
            self.seen.add("conversions that timed out or were interrupted")
        else:
            hold.cut(self.now)
            hold.released = self.now
            actor.hold, actor.unsure, actor.wait = None, hold, (self.now, "X", "0")

    def release(self, actor, hold, op):
        hold.cut(self.now)
        if hold.released is None:
            hold.released = self.now
        hold.release = self.write(actor, op, token=self.chance.choice([hold.token, None]))
        actor.hold = actor.unsure = None

    # -- death --

    def kill(self, proc):
        self.kills[proc] = (self.now, self.now + self.soon())
        self.other.append("k %s %d %d\n" % ((proc,) + self.kills[proc]))
        for actor in [actor for actor in self.actors if actor.proc == proc]:
            self.actors.remove(actor)
            if actor.hold:
                self.kill_holder(actor)
            elif actor.wait:
                self.seen.add("kills of waiters")
                converts = actor.unsure and actor.unsure.released == actor.wait[0]
                if converts or self.chance.random() < 0.5:
                    self.rows.append(Row(proc, actor.fd, "lock", actor.name, actor.wait[0], None, "-", actor.wait[1]))
            if proc not in self.tails and actor.busy <= self.now and self.chance.random() < 0.2:
                self.tails[proc] = self.chance.choice(["e", "e %s" % proc, "e %s %s lock X" % (proc, actor.fd)])
                self.seen.add("cut lines")

    def kill_holder(self, actor):
        hold = actor.hold
        self.seen.add("kills of holders")
        if hold.mode == "X":
            self.slack.add(actor.name)
        if actor.busy < self.now and not hold.lost and self.chance.random() < 0.4:
            begun = Row(actor.proc, actor.fd, "unlock", actor.name, self.chance.randint(actor.busy, self.now), None, "-")
            hold.cut(begun.call)
            hold.released = begun.call
            if actor.proc not in self.tails and self.chance.random() < 0.3:
                text = " ".join(begun.fields()).replace(" - - ", " ok - ")
                self.tails[actor.proc] = text[:text.rindex(" - -")]
            else:
                self.rows.append(begun)
            self.seen.add("kills within an unlock")
            return
        hold.cut(self.now)
        if hold.mode == "X" and actor.known == self.value[actor.name] and hold.token >= self.top[actor.name] and self.chance.random() < 0.7:
            self.value[actor.name] += 1
            self.top[actor.name] = hold.token
            self.seen.add("writes of killed processes that are not told")
            if self.chance.random() < 0.3:
                self.rows.append(Row(actor.proc, actor.fd, "write", actor.name, self.now, None, "-", token=hold.token))
                hold.cut(self.now)

    # -- the end --

    def drain(self):
        """All faults are taken back; everybody is served, and gives back what it has."""
        self.now += MS
        self.heal = self.now
        self.other.append("heal %d\n" % self.heal)
        pending = True
        while pending:
            self.now += self.chance.randint(50 * US, 1500 * US)
            pending = [actor for actor in self.actors if actor.wait or actor.hold or actor.unsure]
            for actor in pending:
                self.now += self.chance.randint(50 * US, 500 * US)
                if actor.busy > self.now:
                    continue
                if actor.wait:
                    self.waiting(actor)
                else:
                    self.release(actor, actor.hold or actor.unsure, self.chance.choice(["unlock", "close"]))
        self.end = self.heal + 3 * BOUND
        assert self.now < self.heal + BOUND
        self.other.append("end %d\n" % self.end)

    def files(self, rows=None, other=None):
        files = {"director.log": list(self.other if other is None else other)}
        for row in self.rows if rows is None else rows:
            files.setdefault(row.proc + ".log", []).append(row.text())
        for proc, tail in self.tails.items():
            files.setdefault(proc + ".log", []).append(tail)
        return files


# ---- faults ----


FAULTS = {}


def fault(name):
    def put(function):
        FAULTS[name] = function
        return function
    return put


def changed(world, changes=(), added=(), without=(), other=None):
    """The files with some fields changed, and lines added or left out. `changes`: (rows, {field: value})."""
    by_row = {}
    for rows, fields in changes:
        for row in rows:
            by_row.setdefault(id(row), {}).update(fields)
    out = []
    gone = set(map(id, without))
    for row in world.rows:
        if id(row) in gone:
            continue
        fields = by_row.get(id(row))
        if fields:
            row = copy.copy(row)
            row.__dict__.update(fields, line=None)
        out.append(row)
    return world.files(out + list(added), other)


def pick(chance, candidates):
    candidates = list(candidates)
    return chance.choice(candidates) if candidates else None


def long_hold(world, chance, mode):
    return pick(chance, [hold for hold in world.holds if hold.mode == mode and hold.end - hold.start > 10])


def intruder(world, chance, held, mode, wanted):
    hold = long_hold(world, chance, held)
    if not hold:
        return None, None
    ret = chance.randint(hold.start + 2, hold.end - 1)
    if chance.random() < 0.1:
        ret = hold.end - 1
    call = chance.randint(ret - MS, ret - 1)
    token = 2 * world.fence[hold.name] + 1000 + (mode == "S")
    rows = [Row("z", "1", "lock", hold.name, call, ret, mode=mode, token=token, deadline=ret + MS),
            Row("z", "1", "unlock", hold.name, ret + 1, ret + 2)]
    return changed(world, added=rows), wanted


fault("a writer beside a writer")(lambda world, chance: intruder(world, chance, "X", "X", "exclusion: two exclusive locks"))
fault("a reader beside a writer")(lambda world, chance: intruder(world, chance, "X", "S", "exclusion: a shared and an exclusive lock"))
fault("a writer beside a reader")(lambda world, chance: intruder(world, chance, "S", "X", "exclusion: a shared and an exclusive lock"))


def pairs(world, first, second, wanted=lambda a, b: True):
    """Two grants of one name, the first granted before the second was asked for."""
    return [(a, b) for a in world.holds for b in world.holds
            if a is not b and a.name == b.name and a.mode == first and b.mode == second and wanted(a, b)]


def before(a, b):
    return a.grant.ret < b.grant.call


def quiet(world, hold, since, until, *without):
    """Whether the descriptor of a grant has told nothing else from one time to the other."""
    return not any(row.proc == hold.proc and row.fd == hold.grant.fd and row not in without and row.ret != row.call
                   and (row.ret if row.call is None else row.call) <= until and (row.call if row.ret is None else row.ret) >= since
                   for row in world.rows)


@fault("granted too early")
def too_early(world, chance):
    found = pick(chance, pairs(world, "X", "X", lambda a, b: a.end - a.start > 10 and a.proc != b.proc and a.end <= b.start < a.end + 20 * MS
                               and b.end > b.start))
    if not found:
        return None, None
    a, b = found
    ret = chance.randint(a.start + 1, a.end - 1)
    call = min(b.grant.call, ret - 1)
    begun = [row for row in world.rows if row.ret is None and row.proc == b.proc and row.call == b.grant.call]
    if not quiet(world, b, call, b.grant.ret, b.grant, *begun):
        return None, None
    return changed(world, [([b.grant], {"ret": ret, "call": call})], without=begun), "exclusion: two exclusive locks"


@fault("given back too late")
def too_late(world, chance):
    found = pick(chance, pairs(world, "X", "X", lambda a, b: a.release and a.release.ret and a.end == a.release.call and a.proc != b.proc and a.proc not in world.kills
                               and a.end <= b.start < min(a.end + 20 * MS, a.told) and b.end > b.start and a.end > a.start))
    if not found:
        return None, None
    a, b = found
    call = chance.randint(b.start + 1, min(b.end, a.told))
    begun = [row for row in world.rows if row.ret is None and row.proc == a.proc and row.call == a.release.call]
    if not quiet(world, a, a.release.call, call + US, a.release, *begun):
        return None, None
    return changed(world, [([a.release], {"call": call, "ret": call + US})], without=begun), "exclusion: two exclusive locks"


def with_token(world, hold, token, wanted):
    return changed(world, [(hold.rows, {"token": token})]), wanted


@fault("one token twice")
def twice(world, chance):
    found = pick(chance, pairs(world, "X", "X"))
    return with_token(world, found[1], found[0].token, "tokens: two exclusive grants of") if found else (None, None)


@fault("a smaller token for who came later")
def later(world, chance):
    found = pick(chance, pairs(world, "X", "X", before))
    return with_token(world, found[1], found[0].token - 200001 * 2, "tokens: the token of an exclusive grant") if found else (None, None)


@fault("a smaller token for who waited")
def waited(world, chance):
    found = pick(chance, pairs(world, "X", "X", lambda a, b: not before(a, b) and a.start < a.end <= b.start < b.end))
    return with_token(world, found[1], found[0].token - 200001 * 2, "tokens: the token of an exclusive grant") if found else (None, None)


@fault("a reader's token below that of the writer before")
def reader_below(world, chance):
    found = pick(chance, pairs(world, "X", "S", before))
    return with_token(world, found[1], found[0].token - 1, "tokens: the token of a shared grant") if found else (None, None)


@fault("a writer's token below that of the reader before")
def writer_below(world, chance):
    found = pick(chance, pairs(world, "S", "X", before))
    return with_token(world, found[1], found[0].token - 1, "tokens: the token of an exclusive grant") if found else (None, None)


@fault("an odd token of a writer")
def odd(world, chance):
    hold = pick(chance, [hold for hold in world.holds if hold.mode == "X"])
    return with_token(world, hold, hold.token + 1, "tokens: the token of an exclusive lock is odd") if hold else (None, None)


@fault("an even token of a reader")
def even(world, chance):
    hold = pick(chance, [hold for hold in world.holds if hold.mode == "S"])
    return with_token(world, hold, hold.token + 1, "tokens: the token of a shared lock is even") if hold else (None, None)


@fault("another token while the lock is held")
def other_token(world, chance):
    row = pick(chance, [row for hold in world.holds for row in hold.rows[1:] if row.op in ("verify", "renew", "lock") and row is not hold.proof])
    # Of the lock with that token, which nobody was granted, a proof is none either.
    wanted = ("tokens: the token changed", "sanity: verify said yes without a lock")
    return (changed(world, [([row], {"token": row.token + 2})]), wanted) if row else (None, None)


def accepted(world, name):
    """What the register of a name accepted, in the order of the tokens."""
    rows = [row for row in world.rows if row.name == name and row.op in ("read", "write") and row.result == "ok"]
    return sorted(rows, key=lambda row: (row.token, row.call))


def exact_names(world):
    return [name for name in world.names if name not in world.slack]


def with_value(world, row, value, wanted):
    return (changed(world, [([row], {"value": value})]), wanted) if row else (None, None)


@fault("a write that is not told")
def not_told(world, chance):
    row = pick(chance, [row for name in exact_names(world) for row in accepted(world, name)[1:-1] if row.op == "write"])
    return (changed(world, without=[row]), "register: ") if row else (None, None)


@fault("an old value is read")
def old_value(world, chance):
    row = pick(chance, [row for name in exact_names(world) for row in accepted(world, name)[1:] if row.op == "read"])
    return with_value(world, row, row and row.value - 1, "register: read ")


@fault("a value from nowhere is read")
def no_value(world, chance):
    row = pick(chance, [row for name in world.names for row in accepted(world, name)[1:] if row.op == "read"])
    return with_value(world, row, row and row.value + 100, "register: read ")


@fault("a write is not what was read and one")
def not_one(world, chance):
    row = pick(chance, [row for name in world.names for row in accepted(world, name) if row.op == "write"])
    return with_value(world, row, row and row.value + chance.choice([-1, 1]), "register: written is not what was read")


@fault("a write without a read")
def no_read(world, chance):
    hold = pick(chance, [hold for hold in world.holds if any(row.op == "write" for row in hold.rows)])
    reads = [row for row in hold.rows if row.op == "read"] if hold else []
    return (changed(world, without=reads), "register: written without having read") if hold else (None, None)


@fault("an old token is accepted")
def old_token(world, chance):
    found = pick(chance, [(a, b) for a, b in pairs(world, "X", "X", lambda a, b: a.token < b.token)
                          if a.proc not in world.kills and any(row.op in ("read", "write") for row in b.rows)])
    if not found:
        return None, None
    a, _ = found
    row = Row(a.proc, "99", "read", a.name, world.end - 20, world.end - 10, token=a.token, value=world.value[a.name])
    return changed(world, added=[row]), "register: accepted with a token below"


@fault("a token that was never granted is accepted")
def no_token(world, chance):
    name = chance.choice(world.names)
    row = Row("z", "1", "read", name, world.end - 20, world.end - 10, token=2 * world.fence[name] + chance.choice([0, 1, 2]), value=world.value[name])
    return changed(world, added=[row]), "register: accepted with a token that this process was never granted"


@fault("the register accepts without a token")
def unguarded(world, chance):
    row = pick(chance, [row for name in world.names for row in accepted(world, name)])
    return (changed(world, [([row], {"token": None})]), "register: accepted without a token") if row else (None, None)


@fault("a key is left")
def key_left(world, chance):
    return changed(world, other=world.other + ["left m%d dlock:%s\n" % (chance.randint(1, 5), chance.choice(world.names))]), "ended: director.log:"


@fault("no end")
def no_end(world, chance):
    return changed(world, other=[line for line in world.other if not line.startswith("end ")]), "ended: no line tells the end"


@fault("a lock is never given back")
def kept(world, chance):
    hold = pick(chance, [hold for hold in world.holds if hold.release and hold.proc not in world.kills and not hold.lost
                         and not any(row.proc == hold.proc and row.fd == hold.actor.fd and row.time > hold.release.call for row in timed(world))])
    if not hold:
        return None, None
    begun = [row for row in world.rows if row.proc == hold.proc and row.fd == hold.actor.fd and row.call == hold.release.call]
    return changed(world, without=begun), "ended: "


def timed(world):
    for row in world.rows:
        row.time = row.ret if row.call is None else row.call
        yield row


@fault("a call after the end")
def after_end(world, chance):
    row = Row(pick(chance, sorted({actor.proc for actor in world.actors})), "99", "unlock", world.names[0], world.end - 5, world.end + chance.randint(1, 100))
    return changed(world, added=[row]), "ended: a process was still there after the end"


@fault("a call that never returns")
def never(world, chance):
    row = Row("z", "1", chance.choice(["verify", "unlock", "close", "lock"]), chance.choice(world.names), world.heal + 1, None, "-", chance.choice("XS"))
    return changed(world, added=[row]), "ended: a call never returned"


def waiter(world, chance, result, call, ret, wanted):
    rows = [Row("z", "1", "lock", "z", call, ret, result, chance.choice("XS"))]
    if result == "ok":
        rows[0].token, rows[0].deadline = 4 + (rows[0].mode == "S"), ret + MS
        rows.append(Row("z", "1", "unlock", "z", ret + 1, ret + 2))
    return changed(world, added=rows), wanted


@fault("a waiter is served too late")
def slow(world, chance):
    call = chance.randint(world.heal - 100 * MS, world.heal + BOUND)
    return waiter(world, chance, "ok", call, max(call, world.heal) + BOUND + chance.randint(1, MS), "waiters: not served within")


@fault("no quorum although all is well")
def no_quorum(world, chance):
    ret = world.heal + BOUND + chance.randint(0, BOUND)
    return waiter(world, chance, "ENOLCK", ret - chance.randint(0, 2 * BOUND), ret, "waiters: ENOLCK")


@fault("a waiter hangs until it is killed")
def hangs(world, chance):
    call = chance.randint(world.heal - 100 * MS, world.heal + BOUND)
    killed = max(call, world.heal) + BOUND + chance.randint(1, MS)
    row = Row("z", "1", "lock", chance.choice(world.names), call, None, "-", chance.choice("XS"))
    return changed(world, added=[row], other=world.other + ["k z %d %d\n" % (killed, killed + 1)]), "waiters: not served within"


def complete(world):
    return [row for row in world.rows if row.ret is not None and row.call is not None]


@fault("a call returns before it begins")
def backwards(world, chance):
    row = chance.choice(complete(world))
    begun = [other for other in world.rows if other.ret is None and other.proc == row.proc and other.call == row.call]
    return changed(world, [([row], {"call": row.ret + 1})], without=begun), "sanity: returned before it was called"


@fault("two calls at a time")
def overlap(world, chance):
    rows = complete(world)
    by_fd = {}
    found = []
    for row in sorted(rows, key=lambda row: row.call):
        last = by_fd.get((row.proc, row.fd))
        if last and last.ret - last.call > 1 and last.op != "close":
            found.append((last, row))
        by_fd[row.proc, row.fd] = row
    pair = pick(chance, found)
    if not pair:
        return None, None
    begun = [other for other in world.rows if other.ret is None and other.proc == pair[1].proc and other.call == pair[1].call]
    return changed(world, [([pair[1]], {"call": pair[0].ret - 1})], without=begun), "sanity: two calls on one descriptor overlap"


@fault("granted when the deadline had passed")
def deadline(world, chance):
    row = chance.choice([hold.grant for hold in world.holds])
    return changed(world, [([row], {"deadline": row.ret - chance.choice([0, 1, MS])})]), "sanity: granted when its deadline had passed"


@fault("a result that nobody knows")
def result(world, chance):
    row = chance.choice(complete(world))
    return changed(world, [([row], {"result": chance.choice(["EUNKNOWN", "OK", "0"])})]), "sanity: "


@fault("another name")
def other_name(world, chance):
    row = pick(chance, [row for hold in world.holds for row in hold.rows[1:] if row.op in ("verify", "renew", "lock") and row is not hold.proof])
    return (changed(world, [([row], {"name": "z"})]), "sanity: another name") if row else (None, None)


@fault("renewed in spite of a loss")
def renewed_after_a_loss(world, chance):
    row = pick(chance, [row for hold in world.holds for row in hold.rows[1:] if row.op in ("verify", "renew") and row is not hold.proof])
    if not row:
        return None, None
    lost = Row(row.proc, row.fd, "lost", row.name, None, row.ret - 1 if row.call is None else row.call, result="-")
    return changed(world, added=[lost]), "sanity: %s although it was told of a loss" % ("renewed" if row.op == "renew" else "verify said yes")


@fault("renewed without a lock")
def renewed_without(world, chance):
    hold = pick(chance, [hold for hold in world.holds if hold.release and hold.release.ret])
    if not hold:
        return None, None
    row = Row(hold.proc, hold.grant.fd, "renew", hold.name, None, hold.release.ret, token=hold.token, deadline=hold.release.ret + MS)
    return changed(world, added=[row]), "sanity: renewed without a lock"


@fault("a malformed line")
def malformed(world, chance):
    files = world.files()
    name = chance.choice([name for name in files if name[:-4] not in world.kills])
    place = chance.randrange(len(files[name]))
    fields = files[name][place][:-1].split(" ")
    if fields[0] in ("f", "left"):
        fields = ["f"]
    elif chance.random() < 0.5:
        fields.append("-")
    else:
        fields.pop()
    files[name][place] = " ".join(fields) + "\n"
    return files, "%s:%d: " % (name, place + 1)


@fault("a cut line of a process that was not killed")
def cut(world, chance):
    files = world.files()
    name = chance.choice([name for name in files if name[:-4] not in world.kills])
    files[name][-1] = files[name][-1][:-chance.randint(1, len(files[name][-1]) - 1)]
    return files, "%s:%d: the line is cut off" % (name, len(files[name]))

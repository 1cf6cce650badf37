"""test_checker.py CASE... - the checker of the torture is itself checked; test_checker.sh calls it.

Small histories of which it is known what is wrong with them (checker_cases.py), the command
itself, and histories by chance: each is right and must be accepted, and then each kind of
fault is put into it and must be found. DLOCK_TEST_SEED makes a random run come again,
DLOCK_TEST_RUNS says how often each kind is put in (1000).
"""
import io
import os
import random
import subprocess
import sys
import tempfile
import time

import checker
import checker_cases
import checker_random

# What happens by chance takes some 20 s. A machine that is busy with other things gets less far: each case tells how far.
SECONDS = 120

told = 0


def check(what, fine, *why):
    global told
    told += 1
    print("%s %d - %s" % ("ok" if fine else "not ok", told, what))
    if not fine:
        for text in why:
            for line in str(text).split("\n"):
                print("# " + line)


# ---- small histories ----


def scaled(text):
    return text if text == "-" else str(round(float(text) * checker.MS))


def files_of(text):
    """The lines of a case, with times in ns and in the files where they belong."""
    files = {"director.log": []}
    lines = [line.strip() for line in text.strip().split("\n")]
    for line in lines:
        fields = line.split(" ")
        if fields[0] == "e":
            fields[8:11] = map(scaled, fields[8:11])
            files.setdefault(fields[1] + ".log", []).append(" ".join(fields) + "\n")
            continue
        times = {"k": (2, 3), "late": (2, 3), "f": (1,), "heal": (1,), "ahead": (1, 2), "end": (1,)}.get(fields[0], ())
        for place in times:
            fields[place] = scaled(fields[place])
        if line != "no end":
            files["director.log"].append(" ".join(fields) + "\n")
    if not any(line.startswith(("end", "no end")) for line in lines):
        files["director.log"].append("end %d\n" % (1000 * checker.MS))
    return files


def report_of(files, settings):
    return check_of(files, settings).run()


def check_of(files, settings):
    history = checker.History()
    for name in sorted(files):
        history.read_lines(name, files[name])
    history.finish()
    return checker.Check(history, **settings)


def findings(report):
    bad = [(report.history.tell_where(where) + ": " if where is not None else "") + text for where, text in report.history.bad]
    return bad + ["%s: %s" % (violation.kind, violation.text) for violation in report.violations]


def same_findings(found, wanted):
    """Each that is wanted begins exactly one that was found, and none is left over."""
    rest = sorted(found)
    for text in sorted(wanted):
        match = [one for one in rest if one.startswith(text)]
        if not match:
            return False
        rest.remove(match[0])
    return not rest


def told_by(report):
    out = io.StringIO()
    report.tell(out)
    return out.getvalue()


def small():
    standard = {"bound": 200 * checker.MS, "min_grants": 0, "order": ("turn",), "settle": 50 * checker.MS, "margin": 10 * checker.MS}
    for what, text in checker_cases.GOOD:
        report = report_of(files_of(text), standard)
        check("accepted: " + what, report.status() == 0 and not findings(report), told_by(report))
    for what, text, wanted, *settings in checker_cases.BAD:
        report = report_of(files_of(text), dict(standard, **(settings[0] if settings else {})))
        fine = report.status() == 1 and same_findings(findings(report), wanted)
        check("refused: " + what, fine, "wanted: %s" % wanted, told_by(report))
    for what, files, wanted, cut in checker_cases.RAW:
        files = dict({"a.log": checker_cases.WHOLE}, **dict(checker_cases.END, **files))
        files = {name: text.splitlines(True) for name, text in files.items()}
        report = report_of(files, standard)
        status = 0 if not wanted else 1 if wanted[0].startswith("exclusion") else 2
        fine = report.status() == status and same_findings(findings(report), wanted) and report.history.cut_lines == cut
        check("%s: %s" % ("refused" if wanted else "accepted", what), fine, "wanted: %s" % wanted, told_by(report))
    notes()
    counts()
    turns()


OWN_TEXT = """
    e a 1 lock X n ok 2 0 5 105 -
    e a 2 lock X n ok 4 2 9 109 -
    e a 1 unlock - n ok 2 8 10 - -
    e a 2 unlock - n ok 4 12 13 - -
    e b 1 lock X m ok 2 0 5 105 -
    e b 1 unlock - m ok 2 8 10 - -
    e c 1 lock X m EWOULDBLOCK - 18 19 - nb
    e c 1 lock X m EWOULDBLOCK - 6 7 - nb
    e c 1 lock X m EWOULDBLOCK - 1 5 - nb
"""


# Of four grants one could have come too early: one asked first, one by less than the margin later, one of another name.
TURNS = """
    heal 100
    e a 1 lock X turn ok 2 160 161 600 -
    e a 1 unlock - turn ok 2 200 201 - -
    e b 1 lock X turn ok 4 170 202 600 -
    e b 1 unlock - turn ok 4 203 204 - -
    e c 1 lock X turn ok 6 180 205 600 -
    e c 1 unlock - turn ok 6 206 207 - -
    e d 1 lock X turn ok 8 180.001 208 600 -
    e d 1 unlock - turn ok 8 209 210 - -
    e d 1 lock X n ok 2 180 202 600 -
    e d 1 unlock - n ok 2 203 204 - -
"""


def turns():
    settings = {"order": ("turn",), "settle": 50 * checker.MS, "margin": 10 * checker.MS}
    said = told_by(report_of(files_of(TURNS), settings))
    check("order is judged where somebody waited who had asked before", "\norder: 1 grants judged" in said, said)
    said = told_by(report_of(files_of(TURNS + "    f 185 begin cut m1\n"), settings))
    check("  not once a fault has begun", "\norder: 0 grants judged" in said, said)
    said = told_by(report_of(files_of(TURNS), {}))
    check("  and nothing is said of it where no name is given", "\norder:" not in said, said)


def counts():
    said = told_by(report_of(files_of(OWN_TEXT), {}))
    check("contention is what another process wanted meanwhile", "\ncontended: 1 exclusive" in said, said)
    said = told_by(report_of(files_of(OWN_TEXT.replace("- 6 7 -", "- 28 29 -")), {}))
    check("  not before, not after, and not one's own", "\ncontended: 0 exclusive" in said, said)


def notes():
    by_what = {what: text for what, text in checker_cases.GOOD}
    for what, note in (("an unlock without a lock", "unlocks without a lock"),
                       ("granted in time, heard of too late, since the process was stopped",
                        "grants that a stopped process heard of after their deadline"),
                       ("a dead process tells something", "lines of who was killed already")):
        said = told_by(report_of(files_of(by_what[what]), {}))
        check("noted: " + what, "\nnote: %s: " % note in said, said)


# ---- the command ----


def run(folder, *options):
    command = [sys.executable, "-B", os.path.join(os.path.dirname(os.path.abspath(checker.__file__)), "checker.py")]
    done = subprocess.run(command + list(options) + ([folder] if folder else []), stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stdout, done.stderr


GOOD_TEXT = """
    f 1 begin cut m1 m2
    f 2 begin cut m3
    f 3 stop b
    f 3.5 end cut m1 m2
    f 3.5 end cut m3
    heal 4
    e a 1 lock X n ok 2 0 5 105 -
    e b 1 lock S n ok 3 2 9 109 -
    e a 1 unlock - n ok 2 8 10 - -
    e b 1 unlock - n ok 3 12 13 - -
    k c 10 11
"""
BAD_TEXT = """
    f 1 cut m1 m2
    f 1500 cut m2
    f 1500.5 stop b
    f 2499.5 cut m3
    f 2600 cut m4
    e a 1 lock X n ok 2 1000 1001.5 4000 -
    e b 1 lock X n ok 4 2000 2500.25 4000 -
    e a 1 unlock - n ok 2 2501 2502 - -
    e b 1 unlock - n ok 4 2600 2601 - -
    end 3000
"""
BAD_TOLD = """violation 1, exclusion, at 2499.250 ms: two exclusive locks of n at the same time, for 0.750 ms
    a.log:1: a fd 1 lock X n: ok token 2 called 999.000 ms, returned 1000.500 ms, deadline 3999.000 ms; \
held X from 1000.500 ms to 2500.000 ms (the call of unlock)
    b.log:1: b fd 1 lock X n: ok token 4 called 1999.000 ms, returned 2499.250 ms, deadline 3999.000 ms; \
held X from 2499.250 ms to 2599.000 ms (the call of unlock)
    a fault before: director.log:3: at 1499.500 ms: stop b
    a fault before: director.log:4: at 2498.500 ms: cut m3
processes: 2, 0 killed
events: 4 in 2.999 s, 0 last lines cut off
grants: 2 exclusive, 0 shared
contended: 1 exclusive grants while another process wanted the lock
register: 0 reads and writes accepted
faults: 5 cut 4 stop 1, 0 heals
longest wait: 500.250 ms, b.log:1
violations: 1
"""


def put(folder, files):
    os.makedirs(folder)
    for name, lines in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(lines)
    return folder


def command():
    with tempfile.TemporaryDirectory() as work:
        good = put(work + "/good", files_of(GOOD_TEXT))
        bad = put(work + "/bad", files_of(BAD_TEXT))
        status, out, err = run(good)
        wanted = ["processes: 3, 1 killed", "grants: 1 exclusive, 1 shared", "faults: 3 cut 2 stop 1, 1 heals",
                  "contended: 1 ", "longest wait: 7.000 ms, %s/b.log:1" % good, "violations: 0"]
        check("a good history: status 0, and a summary", (status, err) == (0, "") and all("\n" + line in "\n" + out for line in wanted), out, err)
        status, out, err = run(bad)
        check("a bad history: status 1, both lines, the faults of the second before, a summary",
              (status, err) == (1, "") and out.replace(bad + "/", "") == BAD_TOLD, out, err)
        os.mkdir(work + "/empty")
        status, out, err = run(work + "/empty")
        check("an empty folder: status 2", status == 2 and "no *.log in it" in out, out, err)
        status, out, err = run(work + "/none")
        check("no folder: status 2", status == 2 and "No such file or directory" in out, out, err)
        put(work + "/hollow", {"a.log": [], "director.log": ["end 1\n"]})
        status, out, err = run(work + "/hollow")
        check("nothing in the files: status 1", status == 1 and "trivial: " not in err and "only 0 grants" in out, out, err)
        put(work + "/spoilt", dict(files_of(GOOD_TEXT), **{"x.log": ["e x\n"]}))
        status, out, err = run(work + "/spoilt")
        check("a malformed line: status 2, file and line", status == 2 and "bad input: %s/spoilt/x.log:1: 2 fields" % work in out, out, err)
        put(work + "/bytes", dict(files_of(GOOD_TEXT), **{"x.log": ["e x 1 lock X \udcff\u00e4 EINTR - 4000000 5000000 - -\n"]}))
        check("a name of any bytes", run(work + "/bytes")[0] == 0, run(work + "/bytes"))
        options(good)


def options(good):
    for arguments, wanted in ((["--min-grants", "2"], 0), (["--min-grants", "3"], 1), (["--min-faults", "3"], 0),
                              (["--min-faults", "4"], 1), (["--bound", "0.9"], 0), (["--bound", "0.001"], 1), (["--grace", "1"], 0), (["--quorum-timeout", "1"], 0), (["--tokenless", "x"], 0),
                              (["--order", "n", "--settle", "0", "--margin", "0"], 0), (["--margin", "no"], 2),
                              (["--min-grants", "many"], 2), (["--what"], 2), ([good], 2)):
        status, out, err = run(good, *arguments)
        check("%s: status %d" % (" ".join(arguments).replace(good, "two folders"), wanted), status == wanted, out, err)
    status, out, err = run(None, "--help")
    check("--help", status == 0 and out == checker.__doc__ and not err, out, err)
    check("no folder is named: status 2", run(None)[0] == 2)


# ---- by chance ----


class ByChance:
    """Right histories until there were enough, and each kind of fault in as many of them."""

    def __init__(self, seed, rounds):
        self.seed, self.rounds = seed, rounds
        self.turns = self.accepted = self.exact = 0
        self.put_in = dict.fromkeys(checker_random.FAULTS, 0)
        self.found = dict.fromkeys(checker_random.FAULTS, 0)
        self.seen = dict.fromkeys(checker_random.SEEN, 0)
        self.failures = {}  # the first of each kind

    def run(self):
        end = time.monotonic() + SECONDS
        while (self.turns < self.rounds or min(self.put_in.values()) < self.rounds) and time.monotonic() < end:
            self.turn(self.seed + self.turns)
            self.turns += 1

    def turn(self, seed):
        world = checker_random.World(random.Random(seed))
        judge = check_of(world.files(), checker_random.SETTINGS)
        report = judge.run()
        self.same_intervals(seed, world, judge)
        if report.status():
            self.failures.setdefault("", "history %d, which is right, is refused:\n%s" % (seed, told_by(report)))
            return
        self.accepted += 1
        for what in world.seen:
            self.seen[what] += 1
        for name, inject in checker_random.FAULTS.items():
            if self.put_in[name] < self.rounds:
                self.inject(world, seed, name, inject)

    def same_intervals(self, seed, world, judge):
        """What each holder could rely on: not a moment less, or the checker overlooks something, and not one more."""
        found = {(grant.event.name, grant.mode, grant.token, grant.start, grant.end) for grants in judge.grants.values() for grant in grants
                 if grant.start < grant.end and grant.event.ret is not None}
        wanted = {(hold.name, hold.mode, hold.token, hold.start, hold.end) for hold in world.holds if hold.start < hold.end}
        if found == wanted:
            self.exact += 1
        else:
            self.failures.setdefault("exact", "history %d: only the checker: %s; only the world: %s" % (seed, found - wanted, wanted - found))

    def inject(self, world, seed, name, inject):
        files, wanted = inject(world, random.Random("%d %s" % (seed, name)))
        if files is None:
            return
        self.put_in[name] += 1
        report = report_of(files, checker_random.SETTINGS)
        if report.status() and any(text.startswith(wanted) for text in findings(report)):
            self.found[name] += 1
        else:
            self.failures.setdefault(name, "history %d: %s: %r is not found:\n%s" % (seed, name, wanted, told_by(report)))

    def tell(self):
        check("%d histories by chance, all of them right: accepted" % self.turns, self.accepted == self.turns, "only %d" % self.accepted)
        check("and what each holder could rely on is known to the nanosecond", self.exact == self.turns, "only in %d" % self.exact)
        for what, times in self.seen.items():
            check("among them %s" % what, times >= max(1, self.turns // 100), "only in %d" % times)
        for name, times in self.put_in.items():
            check("%s, put into %d of them: found each time" % (name, times), self.found[name] == times >= min(self.rounds, 20), "found %d times" % self.found[name])
        for text in self.failures.values():
            print("# " + text.replace("\n", "\n# "))


def by_chance():
    seed = int(os.environ.get("DLOCK_TEST_SEED") or random.randrange(1 << 40))
    print("# DLOCK_TEST_SEED=%d" % seed)
    histories = ByChance(seed, int(os.environ.get("DLOCK_TEST_RUNS") or 1000))
    histories.run()
    histories.tell()


for case in sys.argv[1:]:
    {"small": small, "command": command, "chance": by_chance}[case]()
print("1..%d" % told)

#!/usr/bin/env python3
"""
mutants.py - breaks the rules of the protocol one by one, and lets the simulator find it out.

Usage: mutants.py [--only NAME]... [--mode MODE]... [--seeds N] [--jobs N] [--tap | --markdown] [--list]
  --only      this mutant alone (several times: these)
  --seeds     how many runs each mutant may survive; each mode is first run without any mutant
              for a tenth of that
  --jobs      mutants at a time; as many as there are processors
  --tap       for tests/run-test: a case for each mutant
  --markdown  the table as tests/mutants/README.md has it
  --list      the names and the rules, and nothing is run

The mutants are in mutants.txt, which tells its form. For each: the changed file is compiled
in a temporary folder (the sources stay as they are, and have no switches for this), linked with
the objects of all the others, and run as `sim --mode M`: it is caught when the simulator tells of a
violation within the seeds. One that survives, does not compile, changes nothing in the program, or
whose old text is not there exactly once, is a failure.

Environment: CC, MUTANT_CFLAGS (-O2).
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
SOURCES = ["libdlock/core/*.c", "libdlock/token.c", "tests/unit/core_fixture.c", "tests/unit/model_master.c", "tests/sim/*.c"]
SEEDS = 100000
NEAR = 200
A_RUN_ENDS_WITHIN_S = 900  # else it hangs where the simulator does not see it


class Wrong(Exception):
    """Why a mutant can't be tried."""


class Mutant:
    def __init__(self, name):
        self.name = name
        self.rule = ""
        self.modes = []
        self.near = 0  # a seed that has found it, if those are rare
        self.changes = []  # [file, old text, new text]

    def __str__(self):
        return f"{self.name}: {self.rule}"


def read_mutants(path):
    """The form is told at the head of the file itself."""
    mutants = []
    file = None
    before = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        here = f"{path.name}:{number}"
        kind, rest = line[:1], line[1:]
        if line.startswith("== "):
            mutants.append(Mutant(line[3:].strip()))
            file = None
        elif not mutants or kind == "#" or line == "":
            before = ""
            continue
        elif line.startswith("mode "):
            mutants[-1].modes = line.split()[1:]
        elif line.startswith("near "):
            mutants[-1].near = int(line.split()[1])
        elif line.startswith("file "):
            file = line.split()[1]
        elif kind in "-+ " and file:
            # A new place begins with the file, a blank line, or an old line after a new one.
            if before not in tuple("-+ ") or (before == "+" and kind != "+"):
                mutants[-1].changes.append([file, "", ""])
            change = mutants[-1].changes[-1]
            change[1] += "" if kind == "+" else rest + "\n"
            change[2] += "" if kind == "-" else rest + "\n"
        elif not file and not mutants[-1].modes:
            mutants[-1].rule = f"{mutants[-1].rule} {line}".strip()
        else:
            sys.exit(f"{here}: not understood: {line}")
        before = kind
    names = [m.name for m in mutants]
    for m in mutants:
        if not (m.rule and m.modes and m.changes) or names.count(m.name) > 1:
            sys.exit(f"{path.name}: {m.name} needs a name of its own, a rule, a mode and a change")
    return mutants


class Workshop:
    """Where they are built: the objects of what is not changed, and a folder for each mutant."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.cc = shlex.split(os.environ.get("CC") or "cc")
        self.flags = ["-std=gnu11", "-w", "-D_GNU_SOURCE"] + shlex.split(os.environ.get("MUTANT_CFLAGS", "-O2"))
        self.flags += ["-g0"]  # where a file lies makes no difference to the program then
        for part in ("include", "", "libdlock"):
            self.flags += ["-I", str(TOP / part)]
        self.sources = sorted(p.relative_to(TOP) for glob in SOURCES for p in TOP.glob(glob))
        self.stop = threading.Event()
        self.running = set()

    def call(self, command, seconds=A_RUN_ENDS_WITHIN_S):
        if self.stop.is_set():
            raise Wrong("it was interrupted")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env={k: v for k, v in os.environ.items() if not k.startswith("DLOCK_SIM_")})
        self.running.add(process)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Wrong(f"it does not end within {seconds} s") from None
        finally:
            self.running.discard(process)
        return process.returncode, output

    def compile(self, text_file, like, object_file):
        """`like`: the file that it takes the place of; what it includes by "" is found beside that."""
        status, output = self.call(self.cc + self.flags + ["-iquote", str((TOP / like).parent), "-c", str(text_file), "-o",
                                                           str(object_file)])
        if status:
            raise Wrong("it does not compile: " + output.strip().replace("\n", " / ")[:300])

    def object_of(self, source):
        return self.folder / (str(source).replace("/", "-") + ".o")

    def link(self, objects, program):
        status, output = self.call(self.cc + [str(o) for o in objects] + ["-o", str(program)])
        if status:
            raise Wrong("it can't be linked: " + output.strip()[:300])

    def build_all(self, jobs):
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda s: self.compile(TOP / s, s, self.object_of(s)), self.sources))
        self.link([self.object_of(s) for s in self.sources], self.folder / "sim")

    def build_mutant(self, mutant):
        folder = self.folder / mutant.name
        folder.mkdir()
        objects = {s: self.object_of(s) for s in self.sources}
        for source in sorted({pathlib.Path(c[0]) for c in mutant.changes}):
            if source not in objects:
                raise Wrong(f"{source} is no part of the simulator")
            text = (TOP / source).read_text()
            for file, old, new in mutant.changes:
                if pathlib.Path(file) != source:
                    continue
                if text.count(old) != 1:
                    raise Wrong(f"it has to be written anew: its old text is in {file} {text.count(old)} times")
                text = text.replace(old, new)
            copy = folder / source.name
            copy.write_text(text)
            self.compile(copy, source, copy.with_suffix(".o"))
            if copy.with_suffix(".o").read_bytes() == objects[source].read_bytes():
                raise Wrong(f"what it changes in {source} makes no difference to the program")
            objects[source] = copy.with_suffix(".o")
        self.link(objects.values(), folder / "sim")
        return folder / "sim"

    def simulate(self, program, mode, seeds, jobs=1, first=1):
        """The seed and the violation; None, None: there was none."""
        status, output = self.call([str(program), "--mode", mode, "--first", str(first), "--seeds", str(seeds), "--once",
                                    "--no-story", "--jobs", str(jobs)])
        found = re.search(r"^# (.*); again with: sim --mode \S+ --seed (\d+)$", output, re.MULTILINE)
        if found:
            return int(found.group(2)), found.group(1)
        if status == 0:
            return None, None
        raise Wrong("the simulator fails, but not with a violation: " + " / ".join(output.splitlines())[:300])


class Result:
    def __init__(self, mutant, mode):
        self.mutant, self.mode = mutant, mode
        self.seed, self.what, self.wrong = None, "", ""

    @property
    def caught(self):
        return self.seed is not None


def try_mutant(shop, mutant, seeds, tell):
    results = [Result(mutant, mode) for mode in mutant.modes]
    program, wrong = None, ""
    try:
        program = shop.build_mutant(mutant)
    except Wrong as why:
        wrong = str(why)
    for result in results:
        result.wrong = wrong
        try:
            if program:
                # Where it was found before first: a rare one takes as long as all others together.
                if mutant.near:
                    result.seed, result.what = shop.simulate(program, result.mode, 2 * NEAR, first=max(1, mutant.near - NEAR))
                if not result.caught:
                    result.seed, result.what = shop.simulate(program, result.mode, seeds)
                result.wrong = "" if result.caught else f"it survives {seeds} seeds"
        except Wrong as why:
            result.wrong = str(why)
        tell(result)
    return results


class Report:
    """Tells each outcome as soon as it is known, a line each; if `quiet`, only the failures."""

    def __init__(self, tap, quiet):
        self.tap, self.quiet, self.count, self.failed = tap, quiet, 0, 0
        self.lock = threading.Lock()

    def case(self, good, what, why=""):
        with self.lock:
            self.count += 1
            self.failed += not good
            text = f"{what}: {why}" if why else what
            if self.tap:
                print(f"{'ok' if good else 'not ok'} {self.count} - {text}", flush=True)
            elif not good:
                print(f"FAILED: {text}", file=sys.stderr if self.quiet else sys.stdout, flush=True)
            elif not self.quiet:
                print(text, flush=True)

    def result(self, result):
        name = f"{result.mutant.name} ({result.mode})"
        if not self.tap:
            name = f"{result.mutant.rule}\n    {name}"
        self.case(result.caught, name, f"seed {result.seed}, {result.what}" if result.caught else result.wrong)


def check_unbroken(shop, modes, seeds, jobs, report):
    for mode in modes:
        seed, what = shop.simulate(shop.folder / "sim", mode, seeds, jobs)
        report.case(seed is None, f"no rule broken ({mode}): {seeds} seeds", f"seed {seed}, {what}" if seed else "")


def markdown(mutants, results, seeds):
    """The end of README.md."""
    print(f"{len(mutants)} mutants; each must be caught within {seeds} seeds of each mode that it names.\n")
    print("| mutant | the rule that is broken | mode | caught at seed | as |")
    print("|---|---|---|---|---|")
    for result in results:
        m = result.mutant
        outcome = f"{result.seed} | {result.what}" if result.caught else f"**no** | {result.wrong}"
        print(f"| {m.name} | {m.rule} | {result.mode} | {outcome} |")


def parse():
    parser = argparse.ArgumentParser(description="Breaks the rules of the protocol one by one.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--mode", action="append", default=[], metavar="MODE")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def choose(arguments):
    mutants = read_mutants(HERE / "mutants.txt")
    unknown = set(arguments.only) - {m.name for m in mutants}
    if unknown:
        sys.exit(f"mutants.py: there is no mutant {', '.join(sorted(unknown))}; see --list")
    mutants = [m for m in mutants if not arguments.only or m.name in arguments.only]
    if arguments.mode:
        for m in mutants:
            m.modes = arguments.mode
    return mutants


def run(arguments, mutants, report):
    with tempfile.TemporaryDirectory(prefix="mutants.") as folder:
        shop = Workshop(folder)
        shop.build_all(arguments.jobs)
        modes = [mode for mode in ("safety", "beyond", "liveness", "fair") if any(mode in m.modes for m in mutants)]
        check_unbroken(shop, modes, max(arguments.seeds // 10, 1), arguments.jobs, report)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            try:
                tries = [pool.submit(try_mutant, shop, m, arguments.seeds, report.result) for m in mutants]
                return [result for one in tries for result in one.result()]
            except BaseException:
                shop.stop.set()
                for process in list(shop.running):
                    process.kill()
                raise


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mutants = choose(arguments)
    report = Report(arguments.tap, arguments.markdown)
    if arguments.list:
        print("\n".join(map(str, mutants)))
        return 0
    if arguments.markdown:
        markdown(mutants, run(arguments, mutants, report), arguments.seeds)
        return 1 if report.failed else 0
    began = time.monotonic()
    try:
        run(arguments, mutants, report)
    except Wrong as why:
        report.case(False, "what is not broken is built", str(why))
    if arguments.tap:
        print(f"1..{report.count}")
    else:
        print(f"\n{len(mutants)} mutants in {time.monotonic() - began:.0f} s, {report.failed} failures")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

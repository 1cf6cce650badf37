"""What a run amounts to: read from its history, and the checker's word on it."""

import json
import os
import subprocess
import sys
from collections import Counter

from plan import BOUND, QUORUM_TIMEOUT, SETTLE

KINDS = {"locks": "library", "crowd": "crowd", "loop": "dlock", "files-create": "dlockfs, create mode", "files-flock": "dlockfs, flock mode",
         "foreign": "redlock 5"}


def write_counts(run):
    """What only the director knows, for tell()."""
    with open(os.path.join(run.folder, "counts.json"), "w", encoding="utf-8") as file:
        json.dump({"faults": run.counts, "complaints": run.complaints, "omitted": run.omitted}, file)


def kind_of(proc):
    for prefix, words in KINDS.items():
        if proc.startswith(prefix):
            return words
    return "others"


class Figures:
    """Counted in one pass over all files, which may be large."""

    def __init__(self, folder):
        self.grants, self.refusals = Counter(), Counter()
        self.writes = self.lost = 0
        self.heals, self.late = [], []
        with open(os.path.join(folder, "director.log"), encoding="utf-8") as file:
            self.heals = [int(line.split()[1]) for line in file if line.startswith("heal ")]
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                for line in file:
                    if line.startswith("e "):
                        self._count(line.split())

    def _count(self, words):
        _, proc, _, operation, _, _, result, _, call, back = words[:10]
        if result == "-":
            return
        if operation == "lock" and result == "ok":
            self.grants[kind_of(proc)] += 1
            # Only who was served before the next faults says anything.
            for heal in self.heals:
                if int(call) < heal < int(back) < heal + (BOUND + 1) * 1e9:
                    self.late.append(int(back) - heal)
        elif operation == "lock":
            self.refusals[result] += 1
        elif operation == "write" and result == "ok":
            self.writes += 1
        elif operation == "lost":
            self.lost += 1


def judge(folder):
    """The checker's exit status and words; None and a sentence when there is none."""
    checker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checker.py")
    if not os.path.exists(checker):
        return None, "checker.py is not there: nothing was checked\n"
    result = subprocess.run([sys.executable, checker, "--bound", str(BOUND), "--quorum-timeout", str(QUORUM_TIMEOUT), "--tokenless", "files-",
                             "--tokenless", "foreign", "--order", "crowd",
                             "--settle", str(SETTLE), folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    return result.returncode, result.stdout


def tell(folder, seconds, seed):
    """Prints the summary. (grants, faults, the checker's status)."""
    figures = Figures(os.path.join(folder, "history"))
    with open(os.path.join(folder, "counts.json"), encoding="utf-8") as file:
        counts = json.load(file)
    # Of the crowd are so many that they would hide that others get none.
    in_crowd = figures.grants.pop("crowd", 0)
    grants, faults = sum(figures.grants.values()), sum(counts["faults"].values())
    print(f"torture: {seconds} s, seed {seed}: {grants} grants, {faults} faults, {figures.writes} writes to the registers, "
          f"{figures.lost} locks lost and told")
    print("  grants: " + ", ".join(f"{count} {kind}" for kind, count in figures.grants.most_common()))
    print(f"  in the crowd: {in_crowd} grants more")
    print("  not granted: " + ", ".join(f"{count} {kind}" for kind, count in figures.refusals.most_common()))
    print("  faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts["faults"].items())))
    print(f"  {len(figures.heals)} times all was taken back; {len(figures.late)} waited then and were served" +
          (f", the last one after {max(figures.late) / 1e9:.1f} s" if figures.late else ""))
    for omitted in counts["omitted"]:
        print(f"  left out: {omitted}")
    for complaint in counts["complaints"]:
        print(f"  failed: {complaint}")
    status, words = judge(os.path.join(folder, "history"))
    print(words, end="", flush=True)
    return grants, faults, status

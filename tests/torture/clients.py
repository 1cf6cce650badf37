"""The clients of the torture, and their lives.

    locks    a worker that locks by the library (locks.c): several threads
    crowd    the same, with ten threads that all wait for the name "crowd"
    loop     a shell that runs dlock(1) again and again (loop.sh)
    mkdir, flock
             a program on a mount of dlockfs (files.c), and the mount itself
    foreign  npm's redlock 5 (foreign.cjs), in cycles that suit it: it ignores quarantine and
             fences, so it has a name of its own, "foreign", and plays only while no master
             forgets. It is killed before such a cycle ends, so that it has nothing left.

A client that was killed comes again as another incarnation: its name is followed by a
number.
"""

import os
import shutil
import signal
import subprocess

from processes import boot_ns, descendants, end, end_other, start

# Those that begin with l are held for seconds.
NAMES = [*(f"n{number}" for number in range(1, 9)), *(f"l{number}" for number in range(1, 5))]
CROWD = ["near", "proxied", "far", "farther", "near"]  # a process of CROWD_THREADS in each of these groups
CROWD_THREADS = 10
GROUPS = ["near", "far", "farther", "proxied"]
LEASES_MS = {"near": 2000, "far": 1500, "farther": 3000, "proxied": 2000}


class Client:
    """One place, in which one incarnation after the other lives."""

    def __init__(self, name, kind, command, run, namespace=None, environment=None):
        self.name, self.kind, self.command, self.run = name, kind, command, run
        self.namespace, self.environment = namespace, environment or {}
        self.incarnation = 0
        self.process = None

    def proc(self):
        return f"{self.name}.{self.incarnation}"

    def start(self):
        self.incarnation += 1
        command = [word.replace("@PROC@", self.proc()).replace("@SEED@", str(self.incarnation)) for word in self.command]
        with open(os.path.join(self.run.folder, "output", self.name), "ab") as output:
            self.process = start(command, namespace=self.namespace, cwd=self.run.folder, stdout=output, stderr=output,
                                 env={**self.run.environment, **self.environment, "TORTURE_PROC": self.proc()})

    def kill(self):
        """What it had taken counts until now at most."""
        if self.process is None:
            return
        before = boot_ns()
        below = descendants(self.process.pid)
        end(self.process, signal.SIGKILL)
        for pid in below:
            end_other(pid)
        after = boot_ns()
        for proc in [self.proc(), *self._unfinished()]:
            self.run.write(f"k {proc} {before} {after}")
        self.process = None

    def _unfinished(self):
        """Of a loop: commands under a dlock that have not told of their end."""
        found = set()
        path = os.path.join(self.run.folder, "history", self.proc() + ".log")
        if self.kind == "loop" and os.path.exists(path):
            with open(path, encoding="ascii") as file:
                for words in map(str.split, file):
                    if words[0] == "k" or words[3] in ("unlock", "lost"):
                        found.discard(words[1])
                    else:
                        found.add(words[1])
        return sorted(found)

    def finish(self):
        """Ends as it should; killed, and told, if it does not in time."""
        if self.process is None:
            return
        before = boot_ns()
        status = end(self.process, signal.SIGTERM, 30)
        if status is None:
            self.run.write(f"k {self.proc()} {before} {boot_ns()}")
        if status not in (0, -signal.SIGTERM):
            self.run.complain(f"{self.proc()} ended with {status}: see {self.run.folder}/output/{self.name}")
        self.process = None

    def check(self):
        """Starts again one that has ended by itself, which none should do."""
        if self.process is not None and self.process.poll() is not None:
            self.run.complain(f"{self.proc()} ended by itself with {self.process.returncode}: "
                              f"see {self.run.folder}/output/{self.name}")
            self.process = None
            self.start()

    # --- of a loop: the dlock that it runs now ------------------------------------------------

    def dlock_pid(self):
        """None when there is none. Nobody else's: it must be a child of the loop's."""
        try:
            with open(os.path.join(self.run.folder, "output", self.name + ".pid"), encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return None
        return pid if self.process and parent == self.process.pid else None


class Mount:
    """A mount of dlockfs: its daemon can be killed, and is started again on the dead mount."""

    def __init__(self, name, mode, run):
        self.name, self.mode, self.run = name, mode, run
        self.point = os.path.join(run.folder, "mounts", name)
        self.process = None
        os.makedirs(self.point)

    def start(self):
        with open(os.path.join(self.run.folder, "output", self.name), "ab") as output:
            self.process = start([self.run.program("dlockfs"), "-f", "-o", f"noprotect,mode={self.mode}", self.point],
                                 cwd=self.run.folder, stdout=output, stderr=output,
                                 env={**self.run.environment, "DLOCK_CONFIG": self.run.config("near")})

    def serves(self):
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            there = any(line.split()[1] == self.point for line in mounts)
        if not there or self.process is None or self.process.poll() is not None:
            return False
        try:
            os.statvfs(self.point)
            return True
        except OSError:
            return False

    def kill(self):
        end(self.process, signal.SIGKILL)
        self.process = None

    def finish(self):
        status = end(self.process, signal.SIGTERM, 20)
        if self.process is not None and status != 0:
            self.run.complain(f"the mount {self.name} ended with {status}: see {self.run.folder}/output/{self.name}")
        self.process = None


def fuse_is_there(program):
    return os.path.exists("/dev/fuse") and os.access("/dev/fuse", os.R_OK | os.W_OK) and os.path.exists(program) and \
        (os.geteuid() == 0 or shutil.which("fusermount3") is not None)


def install_redlock(folder):
    """Of npm's packages nothing is to run at their installation. The reason why not; None: they are there."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "no node, or no npm"
    result = subprocess.run(["npm", "install", "--prefix", folder, "--prefer-offline", "--no-audit", "--no-fund",
                             "--ignore-scripts", "redlock@5.0.0-beta.2", "ioredis@5"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=180, check=False)
    return None if result.returncode == 0 else "npm could not install redlock"


def build_worker(here, prefix, target, cc, flags):
    """Against what is installed, by what pkg-config says of it, as any program is. The folder
    of the libraries."""
    found = []
    for base, _, files in os.walk(prefix):
        if "libdlock.pc" in files:
            found.append(base)
    variables = [f"--define-variable=prefix={prefix}", f"--define-variable=exec_prefix={prefix}",
                 f"--define-variable=libdir={os.path.dirname(found[0])}", f"--define-variable=includedir={prefix}/include"]
    options = subprocess.run(["pkg-config", *variables, "--cflags", "--libs", "libdlock"], check=True, text=True,
                             env={**os.environ, "PKG_CONFIG_PATH": found[0]}, stdout=subprocess.PIPE).stdout.split()
    sources = [os.path.join(here, name) for name in ("worker.c", "history.c", "locks.c", "files.c")]
    subprocess.run([*cc.split(), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", *flags, "-o", target, *sources, *options,
                    f"-Wl,-rpath,{os.path.dirname(found[0])}", "-pthread"], check=True, stdin=subprocess.DEVNULL)
    return os.path.dirname(found[0])

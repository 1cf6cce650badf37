#!/usr/bin/env python3
"""torture.py - locks on real servers while everything goes wrong, for as long as is wished.

Usage: torture.py [--seconds N] [--seed N] --build FOLDER [--source FOLDER]
                  [--server PROGRAM] [--keep] [--no-namespaces] [--no-foreign] [--no-mounts]
                  [--sabotage]

Installs what FOLDER has built into a folder of the run's own, builds the workers against
it, brings up five masters and the clients, lets happen what the seed has decided (plan.py),
takes everything down, and has the history checked (checker.py). The seed decides kinds,
victims and times of the faults; what the clients do meanwhile is chance.

--sabotage switches quarantine off, so that masters which forget go on voting, and lets more
masters forget: then there must be violations, or the torture finds nothing.

Exit status: 0 when nothing was violated (with --sabotage: when something was), 1 when something was or anything failed, 77 when
it cannot run here, 128+n by signal n. The folder of a run that did not end with 0 is kept,
and named.
"""

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import clients
import director
import processes
import servers
import summary


def parse():
    parser = argparse.ArgumentParser(prog="torture.py")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", required=True)
    parser.add_argument("--source", default=os.path.join(HERE, "..", ".."))
    parser.add_argument("--server", default=os.environ.get("DLOCK_TEST_SERVER"))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--no-namespaces", action="store_true")
    parser.add_argument("--no-foreign", action="store_true")
    parser.add_argument("--no-mounts", action="store_true")
    parser.add_argument("--sabotage", action="store_true")
    return parser.parse_args()


def omit(reason):
    print(f"torture: {reason}", flush=True)
    sys.exit(77)


def setting(makefile, name):
    """The value of a variable in the Makefile that configure wrote."""
    found = re.search(rf"^{name} = (.*)$", makefile, re.M)
    return found.group(1).strip() if found else ""


def prepare(options):
    """Everything that is built or installed, before there is any namespace."""
    options.folder = tempfile.mkdtemp(prefix="dl-torture-")
    options.prefix = os.path.join(options.folder, "prefix")
    options.omitted, options.node_path = [], None
    with open(os.path.join(options.build, "Makefile"), encoding="utf-8") as file:
        makefile = file.read()
    log = os.path.join(options.folder, "install.log")
    with open(log, "wb") as output:
        made = subprocess.run(["make", "-C", options.build, "install-exec", "install-data", f"prefix={options.prefix}",
                               f"systemdsystemunitdir={options.prefix}/lib/systemd/system"], stdin=subprocess.DEVNULL,
                              stdout=output, stderr=output, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"make install failed: see {log}")
    options.worker = os.path.join(options.folder, "worker")
    options.libdir = clients.build_worker(HERE, options.prefix, options.worker, setting(makefile, "CC") or "cc",
                                          setting(makefile, "SANITIZE_CFLAGS").split())
    options.shim = os.path.join(options.folder, "clock_shim.so")
    servers.compile_shim(os.path.join(options.source, "tests", "harness", "clock_shim.c"), options.shim,
                         setting(makefile, "CC") or "cc")
    options.mounts = not options.no_mounts and clients.fuse_is_there(os.path.join(options.prefix, "bin", "dlockfs"))
    if not options.mounts:
        options.omitted.append("mounts of dlockfs")
    reason = "as was wished" if options.no_foreign else clients.install_redlock(os.path.join(options.folder, "npm"))
    if reason is None:
        options.node_path = os.path.join(options.folder, "npm", "node_modules")
    else:
        options.omitted.append(f"redlock of npm ({reason})")


def run_within(options):
    """The run itself, in namespaces where there are any. Its exit status."""
    command = None if options.no_namespaces else processes.namespace_command()
    options.within = command is not None
    if command is None:
        options.omitted.append("networks that are cut (no namespaces)")
        processes.watch(options.folder)
        return director.direct(options)
    child = subprocess.Popen([*command, sys.executable, os.path.abspath(__file__), "--within", repr(vars(options))],
                             stdin=subprocess.DEVNULL, preexec_fn=processes.die_with_parent)
    # A signal is the director's to obey: what it is in the midst of, it takes down. unshare
    # itself ignores some, so the first process in there is told.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: forward(child.pid, number))
    return child.wait()


def forward(pid, number):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            for one in file.read().split():
                os.kill(int(one), number)
    except (OSError, ValueError):
        pass


def within(text):
    """In the namespaces, as the first process there."""
    options = argparse.Namespace(**ast.literal_eval(text))
    processes.be_init(lambda: os._exit(director.direct(options)))


def clean(folder):
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)


def main():
    options = parse()
    options.build, options.source = os.path.abspath(options.build), os.path.abspath(options.source)
    options.server = servers.find_program(options.server)
    if not options.server:
        omit("no redis-server or valkey-server (redis)")
    if not shutil.which("pkg-config"):
        omit("no pkg-config")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    keep, options.folder = True, None
    try:
        prepare(options)
        status = run_within(options)
        if status >= 128:
            keep = options.keep
            return status
        _, _, verdict = summary.tell(options.folder, options.seconds, options.seed)
        status = 1 if status != 0 or verdict != (1 if options.sabotage else 0) else 0
        keep = options.keep or status != 0
        return status
    except KeyboardInterrupt:
        keep = options.keep
        return 130
    except SystemExit:
        keep = options.keep
        raise
    except Exception as error:
        print(f"torture: {error}", flush=True)
        return 1
    finally:
        if options.folder and keep:
            print(f"torture: kept {options.folder}", flush=True)
        elif options.folder:
            clean(options.folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--within"]:
        within(sys.argv[2])
    sys.exit(main())

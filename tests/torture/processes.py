"""Processes that end with the one that started them, however that ends.

As root, and where user namespaces are allowed, everything runs in namespaces of its own:
processes, network and mounts are gone with the first process in there, which the kernel
kills when we die (within()). Elsewhere each process asks the kernel for a signal at the
death of its parent, and a watchdog kills whatever works in the run's folder once the pipe
from us has closed (watch()).
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
parent = os.getpid()


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(command, namespace=None, **options):
    """A child in a group of its own. `namespace` is a process whose network it shall use."""

    def prepare():
        die_with_parent()
        if namespace is not None:
            descriptor = os.open(f"/proc/{namespace}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            if libc.setns(descriptor, CLONE_NEWNET) != 0:
                os._exit(127)
            os.close(descriptor)

    return subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL), start_new_session=True,
                            preexec_fn=prepare, **options)


def end(process, number=signal.SIGTERM, seconds=10):
    """Ends it with its group; kills what does not end in time. The status; None: it was killed for that."""
    if process is None:
        return 0
    in_time = True
    try:
        # One that is stopped hears nothing.
        os.killpg(process.pid, number)
        os.killpg(process.pid, signal.SIGCONT)
    except ProcessLookupError:
        pass
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        in_time = False
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    status = process.wait()
    return status if in_time else None


def descendants(pid):
    """All processes below it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
            except OSError:
                pass
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found


def end_other(pid):
    """Kills a process that is somebody else's child, and waits until it is no more."""
    while True:
        try:
            os.kill(pid, signal.SIGKILL)
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.002)


# --- namespaces ---------------------------------------------------------------------------------

def namespace_command():
    """What is put before a command to give it namespaces of its own; None where there are none."""
    base = ["unshare", "--fork", "--pid", "--kill-child=SIGKILL", "--mount", "--mount-proc", "--net"]
    for command in [base] if os.geteuid() == 0 else [[*base[:1], "--user", "--map-root-user", *base[1:]]]:
        try:
            if subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return command
        except OSError:
            pass
    return None


def be_init(work):
    """As the first process of a namespace: does `work` in a child, and buries everybody else's
    children. All others are killed by the kernel at our end."""
    child = os.fork()
    if child == 0:
        die_with_parent()
        work()
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == child:
            sys.stdout.flush()
            os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


# --- the watchdog, where there are no namespaces ---------------------------------------------------

def working_in(folder):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                where = os.readlink(f"/proc/{name}/cwd")
            except OSError:
                continue
            if where == folder or where.startswith(folder + "/"):
                found.append(int(name))
    return found


def mounts_in(folder):
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        return [line.split()[1] for line in mounts if line.split()[1].startswith(folder + "/")]


def clear(folder):
    """Kills what works in `folder`, again and again, as one may just be starting another."""
    for _ in range(50):
        found = working_in(folder)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for point in mounts_in(folder):
            subprocess.run(["fusermount3", "-u", "-z", point], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        if not found:
            return
        time.sleep(0.1)


def watch(folder):
    """Starts the watchdog: when we are gone, so is everything that works in `folder`."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.setsid()
        os.chdir("/")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while not select.select([reader], [], [])[0]:
            pass
        clear(folder)
        os._exit(0)
    os.close(reader)
    return writer

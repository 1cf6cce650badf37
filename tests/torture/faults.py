"""What each kind of fault does, at its begin and its end.

Each takes (run, target, amount) and returns words for the record, or None when there was
nothing to do it to; ServerError means that it did not happen. plan.py decides what happens
when, and says why it is within what is promised.
"""

import os
import signal

from processes import boot_ns
from servers import ServerError


def one_of(things, number):
    return things[number % len(things)] if things else None


# --- masters ------------------------------------------------------------------------------------

def kill_server(run, target, _):
    run.servers[target].kill()
    return f"master {target} ({run.servers[target].kind})"


def start_server(run, target, _):
    run.servers[target].start()
    return f"master {target}"


def old_snapshot(run, target, _):
    """Rule 1 of plan.py: only of masters that are not durable."""
    server = run.servers[target]
    server.kill()
    if not server.put_back_snapshot():
        return f"master {target} killed; there is no old snapshot yet"
    return f"master {target} ({server.kind}) gets an old snapshot"


def snapshot(run, target, _):
    run.servers[target].take_snapshot()
    return None


def flushall(run, target, _):
    run.servers[target].ask("FLUSHALL")
    return f"master {target}"


def script_flush(run, target, _):
    run.servers[target].ask("SCRIPT", "FLUSH")
    return f"master {target}"


def client_kill(run, target, _):
    count = run.servers[target].ask("CLIENT", "KILL", "TYPE", "normal")
    return f"master {target}, {count} clients"


def pause(run, target, _):
    # As long as it takes until the end of the fault, which takes it back.
    run.servers[target].ask("CLIENT", "PAUSE", 1500, "WRITE" if boot_ns() % 2 else "ALL")
    return f"master {target}"


def unpause(run, target, _):
    run.servers[target].ask("CLIENT", "UNPAUSE", timeout=3.0)
    return f"master {target}"


def stop_server(run, target, _):
    run.servers[target].signal(signal.SIGSTOP)
    return f"master {target}"


def continue_server(run, target, _):
    run.servers[target].signal(signal.SIGCONT)
    return f"master {target}"


def out_of_memory(run, target, _):
    run.servers[target].ask("CONFIG", "SET", "maxmemory", "1")
    return f"master {target}"


def enough_memory(run, target, _):
    run.servers[target].ask("CONFIG", "SET", "maxmemory", "0", timeout=3.0)
    return f"master {target}"


def flip_to_replica(run, target, amount):
    peers = [number for number in run.servers if number != target and run.servers[number].process]
    peer = run.servers[one_of(peers, int(amount * 1000))]
    run.servers[target].ask("REPLICAOF", peer.address[0], peer.address[1])
    return f"master {target} becomes a replica of {peer.number}"


def flip_to_master(run, target, _):
    """Rule 3 of plan.py."""
    run.servers[target].ask("REPLICAOF", "NO", "ONE", timeout=3.0)
    run.servers[target].ask("CLIENT", "KILL", "TYPE", "normal", timeout=3.0)
    return f"master {target}"


def clock_step(run, target, amount):
    run.servers[target].set_clock(int(amount * 1e6))
    return f"master {target} by {amount:.3f} s"


def clock_back(run, target, amount):
    """A process that took its time for that of all draws no ticket below, until all are as far."""
    run.servers[target].set_clock(0)
    if amount > 0:
        now = boot_ns()
        run.write(f"ahead {now} {now + int(amount * 1e9)}")
    return f"master {target}"


# --- networks --------------------------------------------------------------------------------------

def cut(method):
    def act(run, target, _):
        getattr(run.wires[target[1]], method)(*target[2:])
        return f"{run.wires[target[1]].group} {' '.join(str(word) for word in target[2:])}".strip()
    return act


def proxy(*words):
    """One command to the proxy; `MS` stands for 20 to 600 ms, LATE for 2 to 6 s."""
    def act(run, target, amount):
        number = str(target[1])
        for command in words:
            command = command.replace("#", number).replace("MS", str(int(20 + 580 * amount)))
            run.tell_proxy(command.replace("LATE", str(int(2000 + 4000 * amount))))
        return f"proxy {number}"
    return act


# --- clients -----------------------------------------------------------------------------------------

def kill_worker(run, target, _):
    client = one_of([client for client in run.clients if client.kind in ("locks", "crowd", "loop")], target[1])
    killed = client.proc()
    client.kill()
    client.start()
    return killed


def kill_files(run, target, _):
    client = one_of([client for client in run.clients if client.kind in ("mkdir", "flock") and client.process], target[1])
    if client is None:
        return None
    killed = client.proc()
    client.kill()
    client.start()
    return killed


def signal_worker(number):
    def act(run, target, _):
        client = one_of([client for client in run.clients if client.kind in ("locks", "crowd")], target[1])
        os.killpg(client.process.pid, number)
        return client.proc()
    return act


def dlock_of(run, target):
    return one_of([pid for pid in (client.dlock_pid() for client in run.clients if client.kind == "loop") if pid], target[1])


def kill_dlock(run, target, _):
    pid = dlock_of(run, target)
    if pid is None:
        return None
    os.kill(pid, signal.SIGKILL)
    return f"process {pid}"


def stop_dlock(run, target, _):
    pid = dlock_of(run, target)
    if pid is None:
        return None
    os.kill(pid, signal.SIGSTOP)
    run.stopped[target] = pid
    return f"process {pid}"


def continue_dlock(run, target, _):
    pid = run.stopped.pop(target, None)
    if pid is None or pid not in [client.dlock_pid() for client in run.clients if client.kind == "loop"]:
        return None
    os.kill(pid, signal.SIGCONT)
    return f"process {pid}"


def kill_mount(run, target, _):
    mount = one_of(run.mounts, target[1])
    clients = [client for client in run.clients if client.environment.get("TORTURE_MOUNT") == mount.name]
    for client in clients:
        client.kill()
    mount.kill()
    mount.start()
    run.comes_back(mount, clients)
    return mount.name


def kill_foreign(run, target, _):
    if run.foreign is None or run.foreign.process is None:
        return None
    killed = run.foreign.proc()
    run.foreign.kill()
    run.foreign.start()
    return killed


# kind -> (begin, end)
KINDS = {
    "kill-server": (kill_server, start_server),
    "old-snapshot": (old_snapshot, start_server),
    "snapshot": (snapshot, None),
    "flushall": (flushall, None),
    "script-flush": (script_flush, None),
    "client-kill": (client_kill, None),
    "pause": (pause, unpause),
    "stop-server": (stop_server, continue_server),
    "out-of-memory": (out_of_memory, enough_memory),
    "role-flip": (flip_to_replica, flip_to_master),
    "clock-step": (clock_step, clock_back),
    "cut-there": (cut("cut_there"), cut("mend_there")),
    "cut-back": (cut("cut_back"), cut("mend_back")),
    "cut-all": (cut("cut_all"), cut("mend_all")),
    "proxy-cut": (proxy("cut #"), None),
    "proxy-delay": (proxy("delay # MS"), proxy("clear #")),
    "proxy-late": (proxy("late # LATE", "kick #"), proxy("kick #", "clear #")),
    "proxy-hole": (proxy("hole #"), proxy("clear #")),
    "kill-worker": (kill_worker, None),
    "kill-files": (kill_files, None),
    "kill-dlock": (kill_dlock, None),
    "kill-mount": (kill_mount, None),
    "kill-foreign": (kill_foreign, None),
    "stop-worker": (signal_worker(signal.SIGSTOP), signal_worker(signal.SIGCONT)),
    "stop-dlock": (stop_dlock, continue_dlock),
}


def act(run, event):
    """Does it and writes it down. True when it was a fault that happened."""
    begin, end = KINDS[event.kind]
    action = begin if event.what == "begin" else end
    before = boot_ns()
    try:
        words = action(run, event.target, event.amount)
    except (ServerError, OSError) as error:
        run.write(f"f {before} {event.what} {event.kind} did not happen: {str(error)[:100]}")
        if event.what == "end":
            run.failed_ends.append(event)
        return False
    if words is None:
        return False
    run.write(f"f {before} {event.what} {event.kind} {words}")
    return event.what == "begin"

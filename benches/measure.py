"""Measures container runtimes against each other and writes a table in Markdown.

The runtimes take turns, command by command, so that whatever else the machine does hits all of
them, and in another order each time, since what ran before leaves its traces in caches. Each figure
is the wall time of one command, from posix_spawn to wait4; the state is kept in memory. Runs inside
the namespaces that benches/run makes, as pid 1: orphans come to it.
"""

import argparse
import ctypes
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import time

import document
import order
import runtime
from runtime import ROOTFS, WORK, Floor, Runtime

PAUSE = 0.06
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
MNT_DETACH = 2


def interleave(runtimes, action, runs, pause):
    """`runs` turns; for each runtime its wall times and CPU times, sorted."""
    figures = {each.name: [] for each in runtimes}
    chance = random.Random(1)
    for turn in range(runs + 2):
        for each in chance.sample(runtimes, len(runtimes)):
            if pause:
                time.sleep(pause)
            figure = getattr(each, action)()
            if turn >= 2:
                figures[each.name].append(figure)
    return {name: tuple(sorted(column) for column in zip(*rows)) for name, rows in figures.items()}


def stats(values):
    """min, p10, median."""
    return values[0], values[len(values) // 10], values[len(values) // 2]


def three(values):
    """Three figures in a cell."""
    return " / ".join(f"{value:.2f}" for value in values)


class Report:
    """The lines of the document, shown as they come."""

    def __init__(self):
        self.lines = []

    def say(self, line=""):
        """One line."""
        print(line, file=sys.stderr, flush=True)
        self.lines.append(line)

    def table(self, *cells):
        """The head of a table."""
        self.say()
        self.row(*cells)
        self.say("|" + " --- |" * len(cells))

    def row(self, *cells):
        """One line of it."""
        self.say("| " + " | ".join(map(str, cells)) + " |")

    def against(self, what, how, goal, column, figures):
        """A row of `rt` and the others, with quotients."""
        mine = stats(figures["rt"][column])
        cells = [what, how, goal]
        for name, columns in figures.items():
            theirs = stats(columns[column])
            cells.append(three(theirs))
            if name != "rt":
                cells.append(three(a / b if b else 0 for a, b in zip(mine, theirs)))
        self.row(*cells)


def with_systemd(report, runtimes, runs):
    """What a unit costs beside."""
    others = [cell for each in runtimes[1:] for cell in (each.name, f"rt : {each.name}")]
    report.table("what", "starts", "goal", "rt", *others)
    for what, action in (("`run`", "run"), ("`create` + `start` + `kill` + `delete`", "life")):
        figures = interleave(runtimes, action, runs, 0)
        report.against(what, "back to back", "1.0", 0, figures)


def times(report, runtimes, floors, runs):
    """The commands that everybody waits for."""
    names = [each.name for each in runtimes if each.name != "rt"]
    others = [cell for name in names for cell in (name, f"rt : {name}")]
    kinds = (("back to back", 0, runs), ("spaced", PAUSE, runs // 2))

    kernel = [cell for each in floors for cell in (each.name, f"rt : {each.name}")]
    report.table("what", "starts", "goal", "rt", *others, *kernel)
    for how, pause, count in kinds:
        figures = interleave(runtimes + floors, "run", count, pause)
        report.against("`run`", how, "0.45, 1.15 of the floor", 0, figures)
    report.table("what", "starts", "goal", "rt", *others)
    for how, pause, count in kinds:
        figures = interleave(runtimes, "life", count // 2, pause)
        report.against("`create` + `start` + `kill` + `delete`", how, 0.5, 0, figures)
    for how, pause, count in kinds:
        figures = interleave(runtimes, "run_docker", count // 2, pause)
        report.against("`run` like Docker's", how, 0.5, 0, figures)
    for each in runtimes:
        each.up()
    for action, goal in (("exec", 0.45), ("state", 0.3), ("kill", 0.3)):
        for how, pause, count in kinds:
            figures = interleave(runtimes, action, count, pause)
            report.against(f"`{action}`", how, goal, 0, figures)
            if action == "exec" and not pause:
                report.against("`exec`, CPU", how, 0.3, 1, figures)
    for each in runtimes:
        each.down()


def bursts(report, runtimes, floors, config, count, width):
    """Many creates at a time."""
    for each in runtimes:
        for number in range(count):
            each.bundle("burst", config, number)
    walls = {each.name: [] for each in runtimes + floors}
    for _ in range(5):
        for each in runtimes + floors:
            walls[each.name].append(each.burst(count, width))
    best = {name: min(values) for name, values in walls.items()}
    report.table(f"{count} creates, {width} at a time", *best)
    report.row("ms, the best of 5", *(f"{value:.0f}" for value in best.values()))
    crun = best["crun"]
    report.row("throughput, crun's being 1 (goal: 2.5)", *(f"{crun / value:.2f}" for value in best.values()))


def crowded(report, runtimes, floor, config, containers, mounts, runs):
    """`run` on a host that is full. What is true of the floor is the kernel's doing."""
    def measure():
        figures = interleave(runtimes + [floor], "run", runs, 0)
        return {name: stats(columns[0]) for name, columns in figures.items()}

    empty = measure()
    rt = runtimes[0]
    for number in range(containers):
        rt.bundle("idle", config, number + 1)
        rt.up(f"idle{number}", number + 1)
    idle = subprocess.run(["pgrep", "-c", "-x", os.path.basename(rt.path)], capture_output=True, text=True, check=False)
    full = measure()
    for number in range(containers):
        rt.call("delete", "--force", f"idle{number}")
        rt.reap_init(f"idle{number}")
    many = f"{WORK}/many"
    os.makedirs(f"{many}/from")
    for number in range(mounts):
        target = f"{many}/{number}"
        os.mkdir(target)
        if LIBC.mount(f"{many}/from".encode(), target.encode(), None, MS_BIND, None):
            raise OSError(ctypes.get_errno(), target)
    mounted = measure()
    for number in range(mounts):
        LIBC.umount2(f"{many}/{number}".encode(), MNT_DETACH)
    names = [each.name for each in runtimes] + ["floor"]
    report.table("`run` on a full host (goal: 1.1 of the empty one)", *names)
    report.row("empty", *(three(empty[name]) for name in names))
    for what, found in ((f"{containers} containers", full), (f"{mounts} mounts", mounted)):
        report.row(what, *(three(found[name]) for name in names))
        report.row("divided by empty", *(three(a / b for a, b in zip(found[name], empty[name])) for name in names))
    report.say(f"\nProcesses of rt beside {containers} idle containers: {idle.stdout.strip()}.")


def calls(report, runtimes):
    """What a filter costs each system call of the program."""
    report.table("ns per call under Docker's profile (goal: at most the others')", "getppid", "read")
    found = {each.name: [[], []] for each in runtimes}
    for _ in range(5):
        for each in runtimes:
            for column, value in zip(found[each.name], each.output("calls").split()):
                column.append(float(value))
    for name, columns in found.items():
        report.row(name, *(f"{min(column):.1f}" for column in columns))


def memory(report, runtimes):
    """What a container takes while it is made."""
    report.table("peak memory of `run` with all its processes (GNU time, lowest of 5; goal: 2048)", "KiB")
    for each in runtimes:
        report.row(each.name, min(each.peak() for _ in range(5)))


def written_alike(path, directory):
    """A copy of the program. How its pages came into memory (by the linker, by dpkg, from the disk) makes
    up to a tenth of the time of a start: all take the same way."""
    os.makedirs(directory)
    copy = f"{directory}/{os.path.basename(path)}"
    with open(path, "rb") as source, open(copy, "wb") as target:
        target.write(source.read())
    os.chmod(copy, 0o755)
    return copy


def read_only(path):
    """The program by a read-only mount: rt need not start again to be safe there."""
    target = f"{WORK}/read-only"
    with open(target, "wb"):
        pass
    for flags in (MS_BIND, MS_BIND | MS_REMOUNT | MS_RDONLY):
        if LIBC.mount(path.encode(), target.encode(), None, flags, None):
            raise OSError(ctypes.get_errno(), target)
    return target


def describe(report, runtimes):
    """Where, and what."""
    for line in document.machine():
        report.say(line)
    for each in runtimes:
        report.say(f"- {each.name}: {each.version()}, {os.path.getsize(each.path)} bytes")


def main():
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cgroup", help="parent of all cgroups; without it, systemd makes them")
    parser.add_argument("--floor")
    parser.add_argument("--tools", required=True)
    parser.add_argument("--only", help="times, bursts, crowded, calls or memory: printed, not written")
    parser.add_argument("--order", help="nothing is measured: the linker script to be written")
    parser.add_argument("--runs", type=int, default=150)
    args = parser.parse_args()
    gc.disable()
    # Orphans come here also where this is not pid 1.
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    paths = {"rt": os.environ["RT_BIN"], "crun": shutil.which("crun"), "runc": shutil.which("runc")}
    paths.update(pair.split("=", 1) for pair in os.environ["RT_PEERS"].split())
    paths = {name: written_alike(path, f"{args.tools}/{name}.d") for name, path in paths.items()}
    if args.floor:
        args.floor = written_alike(args.floor, f"{args.tools}/floor.d")
    for directory in ("bin", "dev", "proc", "sys"):
        os.makedirs(f"{ROOTFS}/{directory}")
    for tool in ("true", "calls"):
        shutil.copy(f"{args.tools}/{tool}", f"{ROOTFS}/bin/{tool}")
    paths["rt-ro"] = read_only(written_alike(paths["rt"], f"{args.tools}/rt-ro.d"))
    os.makedirs(f"{WORK}/spec")
    subprocess.run([paths["rt"], "spec", "--bundle", f"{WORK}/spec"], check=True)
    with open(f"{WORK}/spec/config.json", encoding="utf-8") as file:
        config = runtime.plain(json.load(file))
    idle = runtime.with_args(config, "/bin/true", "wait")
    runtimes = [Runtime(name, path, args.cgroup) for name, path in paths.items()]
    for each in runtimes:
        each.bundle("plain", config)
        each.bundle("idle", idle)

    report = Report()
    if not args.cgroup:
        report.say("`benches/systemd`: in the VM of the tests, which is emulated, so that only the quotients mean")
        report.say(f"something. Wall time of one command in ms: min / p10 / median of {args.runs} interleaved turns.\n")
        describe(report, runtimes)
        with_systemd(report, runtimes, args.runs)
        return document.replace(os.environ["RT_BENCH_OUT"], "With systemd", report.lines)

    docker = runtime.like_docker(config)
    for each in runtimes:
        each.bundle("docker", docker)
        each.bundle("calls", runtime.with_args(docker, "/bin/calls"))
    if args.order:
        return order.write(runtimes[0], f"{args.tools}/step", args.order)
    floors = [Floor("floor", args.floor, args.cgroup), Floor("safe floor", args.floor, args.cgroup, "--safe")]
    report.say("`benches/run`. Wall time of one command in ms: min / p10 / median of")
    report.say(f"{args.runs} interleaved turns (half of that for the longer ones), and `rt` divided by the other;")
    report.say("goals are for the division by crun. \"Spaced\" is with a pause of 60 ms before each command, as on")
    report.say("a real node; back to back hides the kernel's RCU waits, since one grace period then serves several")
    report.say("calls. Bundle: what `rt spec` writes, without a terminal, with a static /bin/true of two system")
    report.say("calls; \"like Docker's\": its seccomp profile, 30 mounts, 5 namespaces, 40 masked paths.\n")
    describe(report, runtimes)
    report.say("- rt-ro: rt on a read-only mount (docs/performance.md, \"For operators\")")
    report.say("- floor: `benches/floor.rs`, the same container with nothing but the system calls it takes;")
    report.say("  safe floor: it starts again from a read-only mount of itself, guards the devices, keeps a state")

    parts = {
        "times": lambda: times(report, runtimes, floors, args.runs),
        "bursts": lambda: bursts(report, [each for each in runtimes if each.name != "runc"], floors, idle, 200, 8),
        "crowded": lambda: crowded(report, runtimes[:2], floors[0], idle, 1000, 5000, args.runs // 3),
        "calls": lambda: calls(report, runtimes),
        "memory": lambda: memory(report, runtimes),
    }
    if args.only:
        return parts[args.only]()
    for part in parts.values():
        part()
    return document.replace(os.environ["RT_BENCH_OUT"], "Against other runtimes", report.lines)


main()

"""Measures container runtimes against each other and writes a table in Markdown.

The runtimes take turns, command by command, so that whatever else the machine does hits all of
them. Each figure is the wall time of one command, from posix_spawn to wait4; the state is kept
in memory. Runs inside the namespaces that benches/run makes, as pid 1: orphans come to it.
"""

import argparse
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import time

WORK = "/run/bench"
ENV = {"PATH": os.environ["PATH"]}
PAUSE = 0.06


def spawn(argv, actions=()):
    """Wall time and CPU time of a command, in ms."""
    start = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, ENV, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter_ns() - start
    if status:
        raise SystemExit(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}")
    return wall / 1e6, (usage.ru_utime + usage.ru_stime) * 1e3


class Runtime:
    """A runtime with a bundle, a state directory and a cgroup of its own."""

    def __init__(self, name, path, config, cgroup):
        self.name, self.path = name, path
        self.dir = f"{WORK}/{name}"
        self.pid_file = f"{self.dir}/pid"
        os.makedirs(f"{self.dir}/bundle")
        config["linux"]["cgroupsPath"] = f"/{cgroup}/{name}"
        config["root"]["path"] = f"{WORK}/rootfs"
        with open(f"{self.dir}/bundle/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file, indent=4)
        null = os.open("/dev/null", os.O_RDWR)
        self.actions = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 0)]

    def call(self, *args):
        """Runs a command of the runtime."""
        return spawn([self.path, "--root", f"{self.dir}/state", *args], self.actions)

    def run(self):
        """A container from its making to its removal."""
        return self.call("run", "--bundle", f"{self.dir}/bundle", "box")

    def create(self):
        """The first half of `up`."""
        args = ["create", "--bundle", f"{self.dir}/bundle", "--pid-file", self.pid_file, "box"]
        return self.call(*args)

    def reap(self):
        """Waits for the container's first process, as engines do before they delete."""
        with open(self.pid_file, encoding="ascii") as file:
            os.waitpid(int(file.read()), 0)

    def up(self):
        """Leaves a container that runs."""
        self.set_args(["/bin/true", "wait"])
        self.create()
        self.call("start", "box")

    def down(self):
        """Takes it away."""
        self.call("kill", "box", "KILL")
        self.reap()
        self.call("delete", "box")
        self.set_args(["/bin/true"])

    def set_args(self, args):
        """Another program."""
        path = f"{self.dir}/bundle/config.json"
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["process"]["args"] = args
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=4)

    def life(self):
        """A container as an engine has one."""
        parts = [self.create(), self.call("start", "box"), self.call("kill", "box", "KILL")]
        self.reap()
        parts.append(self.call("delete", "box"))
        return tuple(map(sum, zip(*parts)))

    def exec(self):
        """A second process in a container."""
        return self.call("exec", "box", "/bin/true")

    def state(self):
        """What engines ask all the time."""
        return self.call("state", "box")

    def kill(self):
        """A signal that the program does not mind."""
        return self.call("kill", "box", "URG")

    def peak(self):
        """Peak resident memory of `run` in KiB, as GNU time has it."""
        out = f"{self.dir}/time"
        argv = ["time", "-f", "%M", "-o", out, self.path, "--root", f"{self.dir}/state"]
        argv += ["run", "--bundle", f"{self.dir}/bundle", "box"]
        subprocess.run(argv, check=True, env=ENV)
        with open(out, encoding="ascii") as file:
            return int(file.read())


class Floor:
    """The kernel's price: benches/floor.rs."""

    name = "floor"

    def __init__(self, path, cgroup):
        self.path, self.cgroup = path, cgroup

    def run(self):
        """The system calls of `run`, and nothing else."""
        return spawn([self.path, f"/sys/fs/cgroup/{self.cgroup}/floor", f"{WORK}/rootfs", "/bin/true"])


def interleave(runtimes, action, runs, pause):
    """`runs` turns; for each runtime its wall times and CPU times, sorted."""
    figures = {runtime.name: [] for runtime in runtimes}
    for turn in range(runs + 2):
        for runtime in runtimes:
            if pause:
                time.sleep(pause)
            figure = getattr(runtime, action)()
            if turn >= 2:
                figures[runtime.name].append(figure)
    return {
        name: tuple(sorted(column) for column in zip(*rows)) for name, rows in figures.items()
    }


def stats(values):
    """min, p10, median."""
    return values[0], values[len(values) // 10], values[len(values) // 2]


def row(what, how, column, figures):
    """One line of the table."""
    cells = [what, how]
    mine = stats(figures["rt"][column])
    for name in figures:
        theirs = stats(figures[name][column])
        cells.append(" / ".join(f"{value:.2f}" for value in theirs))
        if name != "rt":
            cells.append(" / ".join(f"{a / b:.2f}" if b else "-" for a, b in zip(mine, theirs)))
    return "| " + " | ".join(cells) + " |"


def table(names):
    """The head of the table."""
    cells = ["what", "starts", "rt"]
    for name in names:
        cells += [name, f"rt : {name}"]
    return ["| " + " | ".join(cells) + " |", "|" + " --- |" * len(cells)]


def version(path):
    """The first line of --version."""
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()[0]


def machine():
    """Where this was measured."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = [line.split(": ")[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = len(file.readlines())
    virtual = " (virtual)" if " hypervisor " in open("/proc/cpuinfo", encoding="utf-8").read() else ""
    cores = os.cpu_count()
    return [
        f"- machine: {cores} x {cpu[0] if cpu else platform.machine()}{virtual}",
        f"- kernel: {platform.release()}, {mounts} mounts in the mount namespace",
    ]


def main():
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cgroup", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--true", required=True)
    parser.add_argument("--runs", type=int, default=150)
    args = parser.parse_args()
    gc.disable()

    paths = {"rt": os.environ["RT_BIN"], "crun": shutil.which("crun"), "runc": shutil.which("runc")}
    paths.update(pair.split("=", 1) for pair in os.environ["RT_PEERS"].split())
    for directory in ("bin", "dev", "proc", "sys"):
        os.makedirs(f"{WORK}/rootfs/{directory}")
    shutil.copy(args.true, f"{WORK}/rootfs/bin/true")
    os.makedirs(f"{WORK}/spec")
    subprocess.run([paths["rt"], "spec", "--bundle", f"{WORK}/spec"], check=True)
    with open(f"{WORK}/spec/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=["/bin/true"])
    # Debian's crun refuses later versions by their number, and with device rules it raises
    # RLIMIT_MEMLOCK, which not every root may. All of them guard the devices without rules too.
    config["ociVersion"] = "1.0.2"
    del config["linux"]["resources"]
    runtimes = [Runtime(name, path, config, args.cgroup) for name, path in paths.items()]
    floor = Floor(args.floor, args.cgroup)

    lines = []

    def say(line):
        print(line, file=sys.stderr, flush=True)
        lines.append(line)

    say("# Benchmarks\n")
    say("Written by `benches/run`. Wall time of one command in ms: min / p10 / median of")
    say(f"{args.runs} interleaved turns, and `rt` divided by the other. \"Spaced\" is with a pause")
    say("of 60 ms before each command, as on a real node; back to back hides the kernel's RCU waits,")
    say("since one grace period then serves several calls. Bundle: what `rt spec` writes, without a")
    say("terminal, with a static /bin/true of two system calls.\n")
    for line in machine():
        say(line)
    for runtime in runtimes:
        size = os.path.getsize(runtime.path)
        say(f"- {runtime.name}: {version(runtime.path)}, {size} bytes")
    say("- floor: `benches/floor.rs`, the same container with nothing but the system calls it takes\n")

    names = [runtime.name for runtime in runtimes if runtime.name != "rt"]
    kinds = (("back to back", 0, args.runs), ("spaced", PAUSE, args.runs // 2))
    for line in table(names + ["floor"]):
        say(line)
    for how, pause, runs in kinds:
        say(row("`run`", how, 0, interleave(runtimes + [floor], "run", runs, pause)))
    for runtime in runtimes:
        runtime.set_args(["/bin/true", "wait"])
    say("")
    for line in table(names):
        say(line)
    for how, pause, runs in kinds:
        figures = interleave(runtimes, "life", runs // 2, pause)
        say(row("`create` + `start` + `kill` + `delete`", how, 0, figures))
        if not pause:
            say(row("the same, CPU", how, 1, figures))
    for runtime in runtimes:
        runtime.up()
    for action in ("exec", "state", "kill"):
        for how, pause, runs in kinds:
            figures = interleave(runtimes, action, runs, pause)
            say(row(f"`{action}`", how, 0, figures))
            if not pause:
                say(row(f"`{action}`, CPU", how, 1, figures))
    for runtime in runtimes:
        runtime.down()

    say("\nPeak resident memory of `run` with all its processes (GNU time), lowest of 5:\n")
    say("| runtime | KiB |\n| --- | --- |")
    for runtime in runtimes:
        say(f"| {runtime.name} | {min(runtime.peak() for _ in range(5))} |")
    with open(os.environ["RT_BENCH_OUT"], "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


main()

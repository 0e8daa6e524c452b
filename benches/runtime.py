"""The things that are measured: container runtimes with their bundles, and the kernel's floor."""

import json
import os
import shutil
import subprocess
import time

WORK = "/run/bench"
ROOTFS = f"{WORK}/rootfs"
PROFILE = "src/seccomp/testdata/moby.json"
ENV = {"PATH": os.environ["PATH"]}


def spawn(argv, actions=()):
    """Starts a command; its pid."""
    return os.posix_spawn(argv[0], argv, ENV, file_actions=actions)


def reap(pid, argv):
    """Waits for a command, which must succeed; its CPU time in ms."""
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def timed(argv, actions=()):
    """Wall time and CPU time of a command, in ms."""
    start = time.perf_counter_ns()
    cpu = reap(spawn(argv, actions), argv)
    return (time.perf_counter_ns() - start) / 1e6, cpu


def at_a_time(commands, width, actions=()):
    """Runs commands, so many at a time: wall time in ms. Who else ends is reaped."""
    start = time.perf_counter_ns()
    waiting, running = list(commands), {}
    while waiting or running:
        while waiting and len(running) < width:
            argv = waiting.pop()
            running[spawn(argv, actions)] = argv
        pid, status, _ = os.wait4(-1, 0)
        argv = running.pop(pid, None)
        if argv and status:
            raise SystemExit(f"{' '.join(argv)}: {os.waitstatus_to_exitcode(status)}")
    return (time.perf_counter_ns() - start) / 1e6


class Runtime:
    """A runtime with bundles, a state directory, and cgroups of its own: below `cgroup`, or made by
    systemd when that is empty."""

    def __init__(self, name, path, cgroup):
        self.name, self.path, self.cgroup = name, path, cgroup
        self.driver = [] if cgroup else ["--systemd-cgroup"]
        self.dir = f"{WORK}/{name}"
        os.makedirs(self.dir)
        null = os.open("/dev/null", os.O_RDWR)
        self.quiet = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1)]

    def bundle(self, kind, config, number=0):
        """Writes a bundle of this configuration, for one container at a time."""
        config = json.loads(json.dumps(config))
        config["root"]["path"] = ROOTFS
        name = f"{self.name}-{kind}-{number}"
        config["linux"]["cgroupsPath"] = f"/{self.cgroup}/{name}" if self.cgroup else f"system.slice:bench:{name}"
        path = f"{self.dir}/{kind}-{number}"
        os.makedirs(path)
        with open(f"{path}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file, indent=4)
        return path

    def argv(self, *args):
        """The command line of one of its commands."""
        return [self.path, "--root", f"{self.dir}/state", *self.driver, *args]

    def call(self, *args):
        """Runs a command of the runtime."""
        return timed(self.argv(*args), self.quiet)

    def run(self, kind="plain"):
        """A container from its making to its removal."""
        return self.call("run", "--bundle", f"{self.dir}/{kind}-0", "box")

    def run_docker(self):
        """The same of a configuration like Docker's."""
        return self.run("docker")

    def create(self, name="box", kind="idle", number=0):
        """Leaves a container that waits for `start`."""
        bundle = f"{self.dir}/{kind}-{number}"
        return self.call("create", "--bundle", bundle, "--pid-file", f"{self.dir}/{name}.pid", name)

    def reap_init(self, name="box"):
        """Waits for a container's first process, as engines do before they delete."""
        with open(f"{self.dir}/{name}.pid", encoding="ascii") as file:
            os.waitpid(int(file.read()), 0)

    def up(self, name="box", number=0):
        """Leaves a container that runs."""
        self.create(name, "idle", number)
        self.call("start", name)

    def down(self, name="box"):
        """Takes it away."""
        self.call("kill", name, "KILL")
        self.reap_init(name)
        self.call("delete", name)

    def life(self):
        """A container as an engine has one."""
        parts = [self.create(), self.call("start", "box"), self.call("kill", "box", "KILL")]
        self.reap_init()
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

    def burst(self, count, width):
        """`count` creates, `width` at a time: wall time in ms."""
        def create(number):
            name = f"burst{number}"
            bundle, pid_file = f"{self.dir}/burst-{number}", f"{self.dir}/{name}.pid"
            return self.argv("create", "--bundle", bundle, "--pid-file", pid_file, name)

        wall = at_a_time([create(number) for number in range(count)], width, self.quiet)
        for number in range(count):
            self.down_created(f"burst{number}")
        return wall

    def down_created(self, name):
        """Takes away a container that was never started."""
        self.call("delete", "--force", name)
        try:
            self.reap_init(name)
        except ChildProcessError:
            pass

    def output(self, kind):
        """What a container prints."""
        argv = self.argv("run", "--bundle", f"{self.dir}/{kind}-0", "box")
        answer = subprocess.run(argv, capture_output=True, text=True, check=True, env=ENV)
        return answer.stdout

    def peak(self):
        """Peak resident memory of `run` in KiB, as GNU time has it."""
        out = f"{self.dir}/time"
        argv = ["time", "-f", "%M", "-o", out]
        argv += self.argv("run", "--bundle", f"{self.dir}/plain-0", "box")
        subprocess.run(argv, check=True, env=ENV)
        with open(out, encoding="ascii") as file:
            return int(file.read())

    def version(self):
        """The first line of --version."""
        answer = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True)
        return answer.stdout.splitlines()[0]


class Floor:
    """The kernel's price: benches/floor.rs."""

    def __init__(self, name, path, cgroup, *flags):
        self.name, self.command = name, [path, *flags]
        self.cgroup = f"/sys/fs/cgroup/{cgroup}/{name}"
        self.argv = [*self.command, self.cgroup, ROOTFS, "/bin/true"]

    def run(self):
        """The system calls of `run`, and nothing else."""
        return timed(self.argv)

    def burst(self, count, width):
        """As of a runtime; the program is not held back."""
        cgroups = [f"{self.cgroup}-{number}" for number in range(count)]
        commands = [[*self.command, "--leave", cgroup, ROOTFS, "/bin/true", "wait"] for cgroup in cgroups]
        wall = at_a_time(commands, width)
        for cgroup in cgroups:
            with open(f"{cgroup}/cgroup.kill", "w", encoding="ascii") as file:
                file.write("1")
        for cgroup in cgroups:
            os.wait()
            while "populated 1" in open(f"{cgroup}/cgroup.events", encoding="ascii").read():
                time.sleep(0.001)
            os.rmdir(cgroup)
            shutil.rmtree(f"/run/floor {os.path.basename(cgroup)}", ignore_errors=True)
        return wall


def plain(config):
    """What `rt spec` writes, for peers of any age and without a terminal."""
    config["process"].update(terminal=False, args=["/bin/true"])
    # Debian's crun refuses later versions by their number, and with device rules it raises
    # RLIMIT_MEMLOCK, which not every root may. All of them guard the devices without rules too.
    config["ociVersion"] = "1.0.2"
    del config["linux"]["resources"]
    return config


def with_args(config, *args):
    """The same for another program."""
    config = json.loads(json.dumps(config))
    config["process"]["args"] = list(args)
    return config


# Files of /proc, most of which exist everywhere.
MASKED = (
    "acpi asound buddyinfo cgroups cmdline consoles cpuinfo crypto devices diskstats dma execdomains "
    "fb filesystems interrupts iomem ioports kallsyms kcore keys kmsg kpagecount kpageflags latency_stats "
    "loadavg locks mdstat misc modules pagetypeinfo partitions sched_debug schedstat scsi slabinfo "
    "softirqs swaps timer_list vmallocinfo zoneinfo"
).split()


def like_docker(config):
    """Docker's seccomp profile, 30 mounts, 5 namespaces, 40 masked paths."""
    config = json.loads(json.dumps(config))
    linux = config["linux"]
    with open(PROFILE, encoding="utf-8") as file:
        linux["seccomp"] = json.load(file)
    linux["namespaces"] = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
    linux["maskedPaths"] = [f"/proc/{name}" for name in MASKED]
    assert len(linux["maskedPaths"]) == 40
    source = f"{WORK}/volume"
    os.makedirs(source, exist_ok=True)
    for number in range(30 - len(config["mounts"])):
        os.makedirs(f"{ROOTFS}/mnt/{number}", exist_ok=True)
        mount = {"destination": f"/mnt/{number}", "type": "bind", "source": source}
        config["mounts"].append(mount | {"options": ["rbind", "ro", "nosuid"]})
    return config

"""The same web server in containers and in virtual machines: memory, start, work."""

import argparse
import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import document  # noqa: E402  (beside the folder of this file)
from chart import bars  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
BASE_PORT = 20080
KVM = ["-accel", "kvm", "-cpu", "host"]
EMULATION = ["-accel", "tcg", "-cpu", "Nehalem,-cx16"]


def get(address, path, connect, timeout=2.0):
    """The body of a page, or None while nobody answers."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.sock = connect(address)
        connection.sock.settimeout(timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def until_it_answers(server, patience=300):
    """Waits for the first page; the time since `server.begun` in ms."""
    while server.get("/index.html") is None:
        if time.monotonic() - server.begun > patience:
            raise TimeoutError(f"{server.name} does not answer")
        time.sleep(0.0005)
    return (time.monotonic() - server.begun) * 1e3


def pss(pids):
    """Memory of these processes in KiB; what they share is divided among them."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def available():
    """Memory that the machine has left, in KiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))


class Host:
    """The server on the machine itself."""

    def __init__(self, work, number):
        self.name = "outside"
        self.port = BASE_PORT - 1 - number
        tree = f"{work}/tree"
        os.makedirs(f"{work}/data", exist_ok=True)
        env = {"PATH": f"{tree}/bin", "DATA": f"{work}/data", "PORT": str(self.port)}
        argv = [f"{tree}/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{self.port}", "-h", f"{tree}/www"]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(argv, env=env)
        self.pids = [self.process.pid]

    def get(self, path, timeout=2.0):
        """A page."""
        return get(("127.0.0.1", self.port), path, socket.create_connection, timeout)

    def end(self):
        """Stops it."""
        self.process.kill()
        self.process.wait()


class Container:
    """The server in a container of rt, with a network of its own."""

    def __init__(self, work, number, cgroup, config):
        self.name = f"box{number}"
        self.rt = [os.environ["RT_BIN"], "--root", "/run/state"]
        config = json.loads(json.dumps(config))
        config["linux"]["cgroupsPath"] = f"/{cgroup}/{self.name}"
        bundle = f"/run/bundles/{self.name}"
        os.makedirs(bundle)
        os.makedirs(f"{work}/data/{self.name}")
        mount = {"destination": "/data", "type": "bind", "source": f"{work}/data/{self.name}"}
        config["mounts"].append(mount | {"options": ["rbind", "rw"]})
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        argv = self.rt + ["run", "--detach", "--bundle", bundle, "--pid-file", f"{bundle}/pid", self.name]
        self.begun = time.monotonic()
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with open(f"{bundle}/pid", encoding="ascii") as file:
            self.pids = [int(file.read())]

    def get(self, path, timeout=2.0):
        """A page, asked for inside its network namespace."""
        def connect(address):
            own = os.open("/proc/self/ns/net", os.O_RDONLY)
            inside = os.open(f"/proc/{self.pids[0]}/ns/net", os.O_RDONLY)
            try:
                LIBC.setns(inside, CLONE_NEWNET)
                return socket.create_connection(address, 2)
            finally:
                LIBC.setns(own, CLONE_NEWNET)
                os.close(own)
                os.close(inside)
        return get(("127.0.0.1", 80), path, connect, timeout)

    def end(self):
        """Removes it."""
        subprocess.run(self.rt + ["delete", "--force", self.name], check=True)
        os.waitpid(self.pids[0], 0)


class Machine:
    """The server in a virtual machine, on a kernel of its own."""

    def __init__(self, work, number, accelerator, memory):
        self.name = f"machine{number}"
        self.port = BASE_PORT + number
        argv = ["qemu-system-x86_64", "-m", memory, "-smp", "1", "-nodefaults", "-no-user-config",
                "-display", "none", *accelerator,
                "-kernel", f"{work}/vmlinuz", "-initrd", f"{work}/initrd", "-append", "quiet panic=-1",
                "-drive", f"file={work}/disk,if=none,id=disk,format=raw,snapshot=on,file.locking=off",
                "-device", "nvme,drive=disk,serial=1",
                "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:80",
                "-device", "virtio-net-pci,netdev=net"]
        self.begun = time.monotonic()
        # What it writes goes into a file there that has no name.
        env = os.environ | {"TMPDIR": work}
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=env)
        self.pids = [self.process.pid]

    def get(self, path, timeout=2.0):
        """A page."""
        return get(("127.0.0.1", self.port), path, socket.create_connection, timeout)

    def end(self):
        """Stops it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def measure(what, make, count):
    """Starts `count` servers, one after the other; what each takes, and the work that one gets done."""
    before = available()
    servers, starts = [], []
    try:
        for number in range(count):
            server = make(number)
            servers.append(server)
            starts.append(until_it_answers(server))
        time.sleep(3)
        memory = pss(pid for server in servers for pid in server.pids) / count
        taken = (before - available()) / count
        work = [int(line) for line in servers[0].get("/cgi-bin/work", 300).split()]
    finally:
        for server in servers:
            server.end()
    starts.sort()
    found = {"count": count, "start": starts[len(starts) // 2], "pss": memory, "taken": taken, "work": work}
    print(what, found, file=sys.stderr, flush=True)
    return found


def kvm_works(work, memory):
    """Whether a machine comes up with it: that there is a /dev/kvm is not enough."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    machine = Machine(work, 0, KVM, memory)
    try:
        return until_it_answers(machine, 20) > 0
    except TimeoutError:
        return False
    finally:
        machine.end()


def size(kib):
    """For people."""
    return f"{kib / 1024:.1f} MB" if kib >= 1024 else f"{kib:.0f} kB"


def main():
    """Measures and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--cgroup", required=True)
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--machines", type=int, default=4)
    parser.add_argument("--memory", default="128M")
    args = parser.parse_args()

    os.makedirs("/run/bundles/spec")
    subprocess.run([os.environ["RT_BIN"], "spec", "--bundle", "/run/bundles/spec"], check=True)
    with open("/run/bundles/spec/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=["/bin/httpd", "-f", "-p", "80", "-h", "/www"])
    config["root"]["path"] = f"{args.work}/tree"
    kvm = kvm_works(args.work, args.memory)
    accelerator = KVM if kvm else EMULATION

    host = measure("outside", lambda n: Host(args.work, n), 1)
    box = measure("container", lambda n: Container(args.work, n, args.cgroup, config), args.containers)
    machine = measure("machine", lambda n: Machine(args.work, n, accelerator, args.memory), args.machines)

    columns = (host, box, machine)
    rows = [
        ["instances at a time", *(each["count"] for each in columns)],
        ["until the first page, median", *(f"{each['start']:.1f} ms" for each in columns)],
        ["memory of its processes (PSS)", *(size(each["pss"]) for each in columns)],
        ["memory that the host has less", "–", *(size(each["taken"]) for each in columns[1:])],
    ]
    for index, what in enumerate(("SHA-256", "writes to disk, with fsync", "loopback, HTTP")):
        rows.append([f"{what}, MB/s", *(each["work"][index] for each in columns)])
    lines = ["`benches/density`. The same web server, busybox httpd, outside, in containers of rt (each with its own",
             "network), and in QEMU's virtual machines (kernel and initramfs, no disk to start from, "
             f"{args.memory} of memory), started",
             "one after the other. The work is done in one of them while the others are idle."]
    if not kvm:
        lines += ["", "**This machine has no usable KVM**: QEMU emulates the processor, so that start and work of the virtual",
                  "machines are 10 to 20 times slower than with it. Memory does not depend on that."]
    lines += ["", *document.machine(), "", "| | outside | container | virtual machine |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines += ["", "![memory and start of a container and of a virtual machine](density.svg)"]
    document.replace("docs/benchmarks.md", "Against virtual machines", lines)
    with open("docs/density.svg", "w", encoding="utf-8") as file:
        file.write(bars([
            ("memory each, kB", [("container", box["pss"]), ("virtual machine", machine["pss"])]),
            ("until the first page, ms", [("container", box["start"]), ("virtual machine", machine["start"])]),
        ]))


main()

"""Which functions of rt the commands of an engine need: benches/step.c executes them instruction by
instruction, and link/hot.ld has the linker put these functions together, in the order in which they
are executed first. x86_64 only; the names are the same elsewhere."""

import bisect
import os
import re
import subprocess

HEAD = """/* Written by `benches/run --order link/hot.ld`: the functions that starting, stopping and asking for containers
   takes, in the order of their first use. Next to each other they are fewer pages, to be mapped and to be held
   in caches. A name that has changed is passed over; where it went, the function is only less well placed. */
"""


def traced(step, rt, words):
    """The addresses of all instructions that a command of `rt` executes, in the order of their first use."""
    argv = [step, str(os.stat(rt.path).st_ino), *rt.argv(*words)]
    ours, theirs = os.pipe()
    actions = [*rt.quiet, (os.POSIX_SPAWN_DUP2, theirs, 3)]
    pid = os.posix_spawn(step, argv, os.environ, file_actions=actions)
    os.close(theirs)
    with open(ours, encoding="ascii") as pipe:
        addresses = [int(line, 16) for line in pipe]
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: {os.waitstatus_to_exitcode(status)}")
    return addresses


def functions(path, addresses):
    """The symbols that have code at these addresses, in their order."""
    table = []
    names = subprocess.run(["nm", "--numeric-sort", path], capture_output=True, text=True, check=True)
    for line in names.stdout.splitlines():
        address, kind, name = line.split(maxsplit=2)
        if kind in "tTwW":
            table.append((int(address, 16), name))
    starts = [address for address, _ in table]
    return dict.fromkeys(table[bisect.bisect(starts, address) - 1][1] for address in addresses)


def pattern(name):
    """The name without what another build may have otherwise: the hashes of crates."""
    name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)
    return re.sub(r"[^A-Za-z0-9_.*]", "?", name)


def write(rt, step, path):
    """Writes the linker script `path` for the runtime `rt`, which has its symbols."""
    addresses = []

    def go(*words):
        addresses.extend(traced(step, rt, words))

    # Without a system call filter: to compile one is a long way through little code.
    go("run", "--bundle", f"{rt.dir}/plain-0", "box")
    pid_file = f"{rt.dir}/box.pid"
    go("create", "--bundle", f"{rt.dir}/idle-0", "--pid-file", pid_file, "box")
    for words in (("start",), ("state",), ("exec", "/bin/true"), ("kill", "KILL")):
        go(words[0], "box", *words[1:])
    rt.reap_init()
    go("delete", "box")
    patterns = dict.fromkeys(pattern(name) for name in functions(rt.path, addresses))
    with open(path, "w", encoding="ascii") as script:
        script.write(HEAD + "SECTIONS\n{\n  .text.hot :\n  {\n")
        script.writelines(f"    *(.text*.{name})\n" for name in patterns)
        # Many functions of the C library have another name in its object files than in the program.
        script.write("    *libc.a:*(.text .text.*)\n")
        script.write("  }\n}\nINSERT BEFORE .text;\n")
    print(f"{path}: {len(patterns)} functions")

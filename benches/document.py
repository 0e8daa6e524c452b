"""docs/benchmarks.md: one section for each program of this folder, replaced when it runs again."""

import os

INTRO = "# Benchmarks\n\nWritten by the programs in `benches/`; each replaces its own section."
ORDER = ["Against other runtimes", "With systemd", "Against virtual machines"]


def machine():
    """Where this was measured."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        text = file.read()
    cpu = [line.split(": ")[1] for line in text.splitlines() if line.startswith("model name")]
    virtual = " (virtual)" if " hypervisor " in text else ""
    uname = os.uname()
    return [
        f"- machine: {os.cpu_count()} x {cpu[0] if cpu else uname.machine}{virtual}",
        f"- kernel: {uname.release}",
    ]


def replace(path, title, lines):
    """Writes the section of this title, and leaves the others."""
    sections = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for section in file.read().split("\n## ")[1:]:
                head, _, body = section.partition("\n")
                sections[head] = body.strip()
    sections[title] = "\n".join(lines).strip()
    with open(path, "w", encoding="utf-8") as file:
        file.write(INTRO + "\n")
        for name in ORDER:
            if name in sections:
                file.write(f"\n## {name}\n\n{sections[name]}\n")

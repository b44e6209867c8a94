#!/usr/bin/env python3
"""How long `korch plan` takes for a catalogue of a million objects, beside Python's json.load of the same file.

    cargo build --release && python3 benches/plan_million.py target/release/korch

Both read the file from the same warm cache, in turn; of each the best of the rounds counts. Needs nothing but Python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time


def generate(path, objects):
    """A third sources, a third standardized, a third final objects; each but the sources has two parents."""
    third = objects // 3
    with open(path, "w", encoding="utf-8") as file:
        file.write("[")
        for i in range(objects):
            if i < third:
                zone, parents = "1-Raw", ""
            elif i < 2 * third:
                zone, parents = "2-Standardized", f"{1000 + i - third},{1000 + (i - third + 1) % third}"
            else:
                first = (i - 2 * third) % third
                zone, parents = "3-Application", f"{1000 + third + first},{1000 + third + (first + 1) % third}"
            file.write(",\n" if i else "\n")
            file.write(
                f'{{"IdObjet":{1000 + i},"IdObjet_Parent":"{parents}","NomObjet":"x","Zone":"{zone}"}}'
            )
        file.write("\n]\n")


def load_seconds(path):
    start = time.perf_counter()
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
    seconds = time.perf_counter() - start
    del entries
    return seconds


def plan_seconds(korch, path):
    """Wall time and peak memory in MB of one `korch plan`."""
    start = time.perf_counter()
    child = subprocess.Popen([korch, "plan", "--file", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"korch plan ended with {child.returncode}: {said.decode(errors='replace')}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("korch", help="the release binary")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "Objets.json")
        generate(path, options.objects)
        print(f"{options.objects} objects, {os.path.getsize(path) / 1e6:.1f} MB, {os.cpu_count()} cores")
        loads, plans = [], []
        for _ in range(options.rounds):
            plans.append(plan_seconds(options.korch, path))
            loads.append(load_seconds(path))
        load, plan = min(loads), min(seconds for seconds, _ in plans)
        # Of the first round: a later child starts as a copy of this process, grown by json.load, and that would count.
        peak = plans[0][1]
        print(f"json.load   {load:.2f} s  (all rounds: {', '.join(f'{s:.2f}' for s in loads)})")
        print(f"korch plan  {plan:.2f} s  (all rounds: {', '.join(f'{s:.2f}' for s, _ in plans)}), peak RSS {peak:.0f} MB")
        print(f"ratio       {plan / load:.2f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Objects a second of `korch up`: 100,000 objects of no work in three stages, log in memory and on disk with fsync.

Usage: throughput.py KORCH [OBJECTS]. Takes the best of three rounds; the share of disk in memory is the ratio.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3


def catalogue(objects: int) -> list[dict]:
    """Thirds of sources, standardized and final objects, two parents each."""
    third = objects // 3
    sources = [{"IdObjet": 1_000_000 + i, "IdObjet_Parent": None, "NomObjet": f"source {i}", "Zone": "1-Raw"}
               for i in range(third)]
    standardized = [{"IdObjet": 2_000_000 + i, "IdObjet_Parent": f"{1_000_000 + i}, {1_000_000 + i * 7 % third}",
                     "NomObjet": f"table {i}", "Zone": "2-Standardized"} for i in range(third)]
    final = [{"IdObjet": 3_000_000 + i, "IdObjet_Parent": [2_000_000 + i % third, 2_000_000 + i * 11 % third],
              "NomObjet": f"model {i}", "Zone": "3-Application"} for i in range(objects - 2 * third)]
    return sources + standardized + final


def seconds(korch: str, folder: Path, *log: str) -> float:
    """The duration of one run, by its own summary."""
    command = [korch, "up", "--once", "--file", str(folder / "Objets.json"), "--delay", "0s", "--slots", "64",
               "--output", "json", "--listen", "off", "--ui-listen", "off", *log]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=300)
    summary = json.loads(done.stdout)
    assert summary["outcome"] == "succeeded", summary
    return summary["duration_seconds"]


def main() -> None:
    korch = sys.argv[1]
    objects = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Objets.json").write_text(json.dumps(catalogue(objects)))
        memory = min(seconds(korch, folder, "--memory") for _ in range(ROUNDS))
        disk = min(seconds(korch, folder, "--data-dir", str(folder / f"log-{round}")) for round in range(ROUNDS))
    print(f"in memory        {objects / memory:10,.0f} objects/s")
    print(f"on disk, fsync   {objects / disk:10,.0f} objects/s")
    print(f"disk : memory    {memory / disk:10.2f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Drives compose.yaml as an operator would, and holds it to what it promises. Python's own library is all it takes.

Started by `run` beside it, which sees to the engine and the images. Each check says what it found and how long it took; the first
that fails ends the test, for those after it would only say the same again.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ["orchestrator", "ingest", "standardize", "application", "ui"]
CORE = ["kafka", *OURS, "prometheus"]
# What no package registry has: with stand-ins these do not run.
NOT_HAD = ["grafana", "loki", "alloy"]
# A project and an image of the test's own: whoever has the stack running on this machine keeps it, with its data.
PROJECT = "korch-stack-test"
VERSION = "stack-test"
IMAGE = f"korch:{VERSION}"
WORKERS = ["ingest", "standardize", "application"]

HEALTHY_SECONDS = 60
IMAGE_BYTES = 40_000_000
# A run with a kill in it: the kill, a broker's start, a lease of 10 s, and the run itself.
RUN_SECONDS = 120


class Failed(Exception):
    """What was promised and is not so."""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Stack:
    """The stack under test, with a catalogue in a folder of its own."""

    def __init__(self, stand_ins: bool, catalogue: Path) -> None:
        self.stand_ins = stand_ins
        self.catalogue = catalogue
        names = ["KORCH_API_PORT", "KORCH_UI_PORT", "KAFKA_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "LOKI_PORT", "ALLOY_PORT"]
        # The usual ones may be taken on this machine.
        self.ports = {name: free_port() for name in names}
        self.environment = {**os.environ, **{name: str(port) for name, port in self.ports.items()}}
        self.environment["KORCH_VERSION"] = VERSION
        self.environment["KORCH_CATALOGUE_DIR"] = str(catalogue.parent)
        self.environment.pop("KORCH_API_TOKEN", None)
        self.files = ["compose.yaml"]
        if stand_ins:
            self.files.append("tests/stack/stand-ins.yaml")
        self.services = CORE if stand_ins else CORE + NOT_HAD

    def docker(self, *words: str, seconds: int = 120, must: bool = True) -> str:
        """What a command of the engine's wrote on stdout. If it fails, so does the test, unless it need not succeed: then its
        code and all that it wrote."""
        try:
            done = subprocess.run(
                ["docker", *words], cwd=ROOT, env=self.environment, timeout=seconds, text=True, capture_output=True, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"docker {' '.join(words)} takes longer than {seconds} s") from late
        if must and done.returncode != 0:
            raise Failed(f"docker {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-4000:]}{done.stdout[-4000:]}")
        return done.stdout if done.returncode == 0 else f"{done.returncode} {done.stderr}{done.stdout}"

    def shell(self, line: str) -> str:
        return subprocess.run(
            ["sh", "-c", line], env=self.environment, timeout=60, text=True, stdout=subprocess.PIPE, check=True
        ).stdout

    def left(self, what: str) -> str:
        """The containers (`ps`) or volumes of this project."""
        label = f"label=com.docker.compose.project={PROJECT}"
        words = ["ps", "--all"] if what == "ps" else [what, "ls"]
        return self.docker(*words, "--quiet", "--filter", label)

    def compose(self, *words: str, seconds: int = 120, must: bool = True) -> str:
        flags = [flag for file in self.files for flag in ("--file", file)]
        return self.docker("compose", "--project-name", PROJECT, *flags, *words, seconds=seconds, must=must)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", seconds=180)

    def address(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def ask(self, port: str, path: str, post: bool = False, seconds: float = 10) -> dict:
        request = urllib.request.Request(self.address(port, path), method="POST" if post else "GET")
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, service: str) -> dict:
        return json.loads(self.docker("inspect", self.containers(service)[0]))[0]


def until(what: str, seconds: float, look, every: float = 0.25):
    """The first answer of `look` that says something. That nobody answers yet, or no longer, is none."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError, json.JSONDecodeError):
            if found := look():
                return found
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(every)


def start_run(stack: Stack) -> str:
    # A page that has just come does not know yet who leads; the request stands in the log all the same.
    return stack.ask("KORCH_UI_PORT", "/orchestrate", post=True, seconds=20)["run_id"]


def objects_of(run: dict) -> dict[int, str]:
    return {entry["id"]: entry["state"] for entry in run["objects"]}


def finished(stack: Stack, run: str, port: str = "KORCH_UI_PORT") -> dict:
    def look():
        detail = stack.ask(port, f"/runs/{run}")
        return detail if detail["state"] in ("succeeded", "failed", "cancelled") else None

    return until(f"run {run} ends", RUN_SECONDS, look)


def expect(real, wanted, what: str) -> None:
    if real != wanted:
        raise Failed(f"{what}: {real!r}, and not {wanted!r}")


def judge(stack: Stack, run: str, wanted: dict[int, str] | None = None) -> dict[int, str]:
    """Whether this run ended as the example catalogue's runs do, and whether its events keep the laws."""
    detail = finished(stack, run)
    states = objects_of(detail)
    expect(detail["state"], "failed", f"the outcome of {run}")
    expect({name for name, state in states.items() if state == "failed"}, {2005}, f"what failed in {run}")
    expect({name for name, state in states.items() if state == "skipped"}, {3007}, f"what was skipped in {run}")
    expect({state for name, state in states.items() if name not in (2005, 3007)}, {"loaded"}, f"the rest of {run}")
    if wanted is not None:
        expect(states, wanted, f"{run}'s objects beside the first run's")
    loaded: dict[int, int] = {}
    for event in stack.ask("KORCH_UI_PORT", f"/runs/{run}/events?limit=1000")["events"]:
        kind, name, attempt = event["event_type"], event.get("id_objet"), event.get("attempt")
        if kind == "ObjectLoaded":
            expect(attempt, loaded.setdefault(name, attempt), f"the attempt in which {name} was loaded, in {run}")
        elif kind in ("ObjectReady", "ObjectAssigned") and name in loaded:
            raise Failed(f"{kind} of {name}, attempt {attempt}, after it was loaded by attempt {loaded[name]}, in {run}")
    expect(set(loaded), {name for name, state in states.items() if state == "loaded"}, f"what the events of {run} say is loaded")
    return states


class Report:
    """What was checked, a line each."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    @contextlib.contextmanager
    def check(self, what: str):
        notes: list[str] = []
        start = time.monotonic()
        try:
            yield notes
        except Exception:
            self.failed += 1
            self.line("FAILED", what, start, notes)
            raise
        self.passed += 1
        self.line("ok", what, start, notes)

    def skip(self, what: str) -> None:
        self.skipped += 1
        print(f"NOT RUN          {what}", flush=True)

    def line(self, how: str, what: str, start: float, notes: list[str]) -> None:
        tail = f": {'; '.join(notes)}" if notes else ""
        print(f"{how:7} {time.monotonic() - start:6.1f} s {what}{tail}", flush=True)


def targets(stack: Stack) -> dict[str, list[str]]:
    """The healths of what Prometheus asks, by job."""
    jobs: dict[str, list[str]] = {}
    for target in stack.ask("PROMETHEUS_PORT", "/api/v1/targets?state=active")["data"]["activeTargets"]:
        jobs.setdefault(target["labels"]["job"], []).append(target["health"])
    return jobs


def all_up(stack: Stack, ingest: int = 1):
    jobs = targets(stack)
    wanted = {service: ["up"] * (ingest if service == "ingest" else 1) for service in OURS}
    return all(jobs.get(service) == healths for service, healths in wanted.items()) and jobs


def check_image(stack: Stack, report: Report) -> None:
    with report.check("the image: at most 40 MB, not root, nothing but the binary") as notes:
        image = json.loads(stack.docker("image", "inspect", IMAGE))[0]
        notes.append(f"{image['Size'] / 1e6:.1f} MB")
        if image["Size"] > IMAGE_BYTES:
            raise Failed(f"the image has {image['Size']} bytes")
        expect(image["Config"]["User"], "65532:65532", "whom it runs as")
        expect(image["Config"]["Entrypoint"], ["/korch"], "what it runs")
        made = stack.docker("create", IMAGE).strip()
        try:
            files = stack.shell(f"docker export {made} | tar -t").split()
        finally:
            stack.docker("rm", made)
        # The engine adds the mount points.
        ours = [name for name in files if not name.startswith(("dev/", "proc/", "sys/", ".dockerenv")) and not name.endswith("/")]
        expect(
            sorted(name for name in ours if name not in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")),
            ["etc/ssl/certs/ca-certificates.crt", "korch"],
            "what is in it",
        )


def check_confinement(stack: Stack, report: Report) -> None:
    with report.check("every container: no rights, nothing to write on, and ours is not root"):
        for service in stack.services:
            found = stack.inspect(service)
            host = found["HostConfig"]
            expect(host["ReadonlyRootfs"], True, f"{service}'s read-only root")
            expect(host["CapDrop"], ["ALL"], f"the rights that {service} lost")
            expect(host["SecurityOpt"], ["no-new-privileges:true"], f"what {service} may become")
            for bindings in (host["PortBindings"] or {}).values():
                expect([binding["HostIp"] for binding in bindings], ["127.0.0.1"], f"where {service} is published")
            if service in OURS:
                # The kernel's word, and not the settings'.
                status = Path(f"/proc/{found['State']['Pid']}/status")
                if status.exists():
                    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                    expect(lines["Uid"].split()[0], "65532", f"the user of {service}'s process")
                    expect(int(lines["CapEff"], 16), 0, f"the rights of {service}'s process")


def check_kill(stack: Stack, report: Report, service: str, wanted: dict[int, str]) -> None:
    with report.check(f"{service} killed in mid-run") as notes:
        run = start_run(stack)

        def in_mid_run():
            detail = stack.ask("KORCH_UI_PORT", f"/runs/{run}")
            running = {entry["stage"] for entry in detail["objects"] if entry["state"] == "running"}
            # A worker is killed while it works; the others once something is loaded and something is not.
            return service in running if service in WORKERS else bool(running) and detail["counts"]["loaded"] > 0

        until(f"{service} in the midst of {run}", 60, in_mid_run, every=0.1)
        stack.compose("kill", service)
        killed = time.monotonic()
        state = stack.inspect(service)["State"]
        expect((state["Running"], state["ExitCode"]), (False, 137), f"how {service} ended")
        time.sleep(1)
        stack.compose("start", service)
        started = time.monotonic()
        judge(stack, run, wanted)
        notes.append(f"down for {started - killed:.1f} s, the run over {time.monotonic() - killed:.1f} s after the kill")
        attempts = max(len(entry["attempts"]) for entry in finished(stack, run)["objects"])
        notes.append(f"attempts an object: {attempts} at most")
        until(f"{service} is well", 60, lambda: stack.inspect(service)["State"]["Health"]["Status"] == "healthy")


def check_scale(stack: Stack, report: Report, wanted: dict[int, str]) -> None:
    with report.check("--scale ingest=3: three workers share the work") as notes:
        stack.compose("up", "--detach", "--no-recreate", "--no-build", "--wait", "--scale", "ingest=3", *CORE)

        def three():
            workers = stack.ask("KORCH_UI_PORT", "/workers")["workers"]
            return [it for it in workers if it["stages"] == ["ingest"] and it["state"] == "up"][2:]

        until("three workers for ingest", 30, three)
        run = start_run(stack)
        judge(stack, run, wanted)
        used = {
            attempt["worker"]
            for entry in finished(stack, run)["objects"]
            if entry["stage"] == "ingest"
            for attempt in entry["attempts"]
        }
        notes.append(f"{len(used)} of them used")
        if len(used) < 2:
            raise Failed(f"all of ingest was done by {used}")
    with report.check("Prometheus asks all three"):
        until("three targets of the job ingest, all up", 60, lambda: all_up(stack, ingest=3))


def check_kafka_from_here(stack: Stack, report: Report) -> None:
    with report.check("Kafka from this machine: the image's own binary, run here, reads the runs"):
        place = Path(stack.environment.get("KORCH_STACK_CACHE", Path.home() / ".cache/korch-stack")) / "korch"
        made = stack.docker("create", IMAGE).strip()
        try:
            stack.docker("cp", f"{made}:/korch", str(place))
        finally:
            stack.docker("rm", made)
        port = stack.ports["HERE"] = free_port()
        words = [str(place), "ui", "--kafka", f"localhost:{stack.ports['KAFKA_PORT']}", "--listen", f"127.0.0.1:{port}"]
        with open(place.with_suffix(".log"), "w", encoding="utf-8") as log:
            here = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                until("the runs, read from here", 30, lambda: stack.ask("HERE", "/runs")["runs"])
            finally:
                here.terminate()
                try:
                    here.wait(15)
                except subprocess.TimeoutExpired:
                    here.kill()
                    here.wait(15)


def check_catalogue(stack: Stack, report: Report) -> None:
    with report.check("a catalogue that an editor puts in the old one's place is the next run's"):
        entries = json.loads(stack.catalogue.read_text(encoding="utf-8"))
        changed = next(entry for entry in entries if entry["IdObjet"] == 3001)
        changed["NomObjet"] = "another name"
        beside = stack.catalogue.with_suffix(".new")
        beside.write_text(json.dumps(entries), encoding="utf-8")
        beside.rename(stack.catalogue)
        run = start_run(stack)
        judge(stack, run)
        names = {entry["id"]: entry["name"] for entry in finished(stack, run)["objects"]}
        expect(names[3001], "another name", "3001 in the next run")


def check_watchers(stack: Stack, report: Report) -> None:
    with report.check("Grafana shows its dashboards to whoever asks; Loki has lines"):

        def dashboards():
            return len(stack.ask("GRAFANA_PORT", "/api/search?type=dash-db")) >= 2

        until("two dashboards", 60, dashboards)
        until("labels in Loki", 60, lambda: stack.ask("LOKI_PORT", "/loki/api/v1/labels").get("data"))


def check_logs(stack: Stack, report: Report) -> None:
    with report.check("what korch says stands in the engine's file, tagged, as JSON lines") as notes:
        found = stack.inspect("orchestrator")
        path = Path(found["LogPath"])
        if not path.exists():
            notes.append("not looked at: this engine keeps it elsewhere")
            return
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        expect({line["attrs"]["tag"] for line in lines}, {"korch"}, "the tags")
        # Where it listens it says to people.
        said = [json.loads(line["log"]) for line in lines if "http://0.0.0.0" not in line["log"]]
        events = {line.get("event_type") for line in said}
        if not {"ObjectReady", "ObjectAssigned", "RunFinished"} <= events:
            raise Failed(f"the orchestrator's lines tell of {events}")
        notes.append(f"{len(said)} of {len(lines)} lines")


def drive(stack: Stack, report: Report) -> None:
    with report.check("compose.yaml is sound, with all services and tools"):
        services = stack.compose("--profile", "tools", "config", "--services").split()
        expect(set(services), {*CORE, *NOT_HAD, "doctor"}, "the services")
        for line in stack.compose("--profile", "tools", "config", "--images").split():
            if line.endswith(":latest") or ":" not in line:
                raise Failed(f"{line} says no version")
        ours = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M).group(1)
        for file, line in ((".env", f"KORCH_VERSION={ours}\n"), ("Containerfile", f"ARG KORCH_VERSION={ours}\n")):
            if line not in (ROOT / file).read_text(encoding="utf-8"):
                raise Failed(f"{file} does not say {line.strip()}, as Cargo.toml does")
    if stack.stand_ins:
        report.skip(f"{', '.join(NOT_HAD)}: no package registry has their images; only their lines of compose.yaml are read here")
    else:
        with report.check("the images of others are here"):
            stack.compose("pull", "--ignore-buildable", *(name for name in stack.services if name not in OURS), seconds=1800)
    with report.check("the image is built"):
        stack.compose("build", seconds=2400)
    check_image(stack, report)
    with report.check(f"up --build: all healthy within {HEALTHY_SECONDS} s") as notes:
        start = time.monotonic()
        stack.compose("up", "--build", "--detach", "--wait", *stack.services, seconds=180)
        took = time.monotonic() - start
        notes.append(f"{len(stack.services)} services")
        for service in stack.services:
            expect(stack.inspect(service)["State"]["Health"]["Status"], "healthy", service)
        if took > HEALTHY_SECONDS:
            raise Failed(f"it took {took:.1f} s")
    check_confinement(stack, report)
    with report.check("a run, started on the page's API") as notes:
        expect(stack.ask("KORCH_UI_PORT", "/runs")["runs"], [], "the runs before anyone asked for one")
        wanted = judge(stack, start_run(stack))
        notes.append(f"{len(wanted)} objects, 2005 failed, 3007 skipped")
        page = urllib.request.urlopen(stack.address("KORCH_UI_PORT", "/"), timeout=10).read()
        expect(b"<html" in page, True, "the page")
    with report.check("Prometheus asks every one of ours") as notes:
        jobs = until("all targets up", 60, lambda: all_up(stack))
        notes.append(", ".join(sorted(jobs)))
    with report.check("doctor finds nothing wrong") as notes:
        without = ["--env", f"KORCH_WITHOUT={','.join(NOT_HAD)}"] if stack.stand_ins else []
        notes.append(f"{len(stack.compose('run', '--rm', *without, 'doctor').splitlines())} lines")
    check_kafka_from_here(stack, report)
    check_logs(stack, report)
    check_catalogue(stack, report)
    if not stack.stand_ins:
        check_watchers(stack, report)
    with report.check("slow workers take the place of these, so that a kill falls into a run"):
        stack.files.append("tests/stack/slow.yaml")
        stack.compose("up", "--detach", "--no-build", "--wait", *CORE, seconds=180)
    for service in CORE:
        check_kill(stack, report, service, wanted)
    check_scale(stack, report, wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stand-ins", action="store_true", help="the images are stand-ins: no Grafana, no Loki, no Alloy")
    parser.add_argument("--keep", action="store_true", help="leave the stack running at the end")
    arguments = parser.parse_args()
    # Where whoever korch runs as may look.
    folder = Path(tempfile.mkdtemp(prefix="korch-catalogue-"))
    folder.chmod(0o755)
    stack, report = Stack(arguments.stand_ins, Path(shutil.copy(ROOT / "Objets.json", folder))), Report()
    stack.catalogue.chmod(0o644)
    # To be told to end is to come to the end of this, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        # What an earlier test left behind that was killed.
        stack.down()
        drive(stack, report)
    except Exception as why:  # Whatever it is: the stack is to be taken down, and the count to be said.
        print(f"\n{why if isinstance(why, Failed) else traceback.format_exc()}\n", file=sys.stderr)
        print(stack.compose("ps", "--all", must=False), stack.compose("logs", "--tail", "10", must=False), file=sys.stderr)
    finally:
        if arguments.keep:
            print(f"kept: {stack.ports}, the catalogue in {folder}")
        else:
            shutil.rmtree(folder)
            with contextlib.suppress(Failed), report.check("down: nothing is left"):
                stack.down()
                expect((stack.left("ps"), stack.left("volume")), ("", ""), "containers and volumes")
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

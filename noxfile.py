"""Automation: ``nox -s parity`` is the main job, ``nox -l`` lists the rest.

Every session installs the exact versions of ``constraints.txt`` into an environment of its own and
passes what follows ``--`` on to the program that it starts.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests", "coreai", "parity", "second_opinion", "installed"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

# Threads that wait for each other spin for a while by default. As soon as a second process wants
# the cores, each of thousands of parallel regions loses a time slice: 60 s instead of 4 s for a
# segment. A thousand turns cost 3 % on an idle machine and keep a busy one at its fair share.
PATIENT_THREADS = {"GOMP_SPINCOUNT": "1000"}
ONE_THREAD = PATIENT_THREADS | {"OMP_NUM_THREADS": "1"}  # for a worker on each core
WORKERS = ("-n", os.environ.get("PARITY_TEST_WORKERS", "2"))

LATEST = Path("reports", "latest")
HISTORY = Path("reports", "history")
BASELINE = Path("reports", "baseline.json")
CONFORMANCE = Path("reports", "conformance", "conformance.json")
BENCH = Path("reports", "bench", "bench.json")
PACKAGES = Path("build", "store")  # those of earlier runs, named by all that decides them
BESIDE = (CONFORMANCE, BENCH)  # shown in the report of a run, if they were made before
WAIVERS = Path("suites", "waivers.toml")
LAYERS = ("ops", "stft", "surgery", "conversion", "end_to_end")
SUITES = [f"suites/{layer}" for layer in (*LAYERS, "faults")]

# What a user of the wheel does: the words, the exit code, and what is said.
FIRST_STEPS = (
    ("--version", 0, "htdemucs-parity "),
    ("doctor", 0, "Every required engine can execute here"),
    ("golden build --subject mini --case quiet", 0, "1 of 1 goldens are fine"),
    ("golden show", 0, "│ mini               │ quiet      │ match"),
    ("golden build --subject mini --case quiet --record", 2, "belongs to the installed package"),
    ("convert mini --precision fp32 --out mini.mlpackage", 0, "pass: all"),
    ("check mini.mlpackage --subject mini --case quiet", 0, "PASS: all"),
    ("sensitivity mini --case quiet --probes 1", 0, "the whole recipe"),
    ("run ../own/parity.toml", 0, "PASS: all"),
    ("faults --fault stft.*", 0, "injected faults were caught"),
    ("faults --fault harness.fault-missed", 0, "1 of 1 injected faults were caught"),
    ("faults --fault metrics.permuted", 3, "an installed package has no suites"),
    ("faults --mutations", 3, "run them in a clone of the project"),
)


def install(session: nox.Session, *extras: str) -> None:
    """Install the project with the pinned versions."""
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("-c", "constraints.txt", "-e", target)


@nox.session
def parity(session: nox.Session) -> None:
    """Evaluate every layer on the default subjects; writes reports/latest."""
    words = session.posargs
    install(session, "test", *(("onnx",) if any("onnx" in word for word in words) else ()))
    judge(session, LATEST, words)


@nox.session
def second_opinion(session: nox.Session) -> None:
    """Ask ONNX Runtime about every package, on music; writes reports/second-opinion."""
    install(session, "test", "onnx")
    words = ["--engine", "onnx", "--case", "song", *session.posargs]
    judge(session, Path("reports", "second-opinion"), words)


def judge(session: nox.Session, out: Path, words: Sequence[str]) -> None:
    """Evaluate what ``words`` ask for, and fail unless the run that is written passes."""
    told = ("--subject", "--golden-root")
    places = [place for place, word in enumerate(words) if word in told]
    goldens = [part for place in places for part in words[place : place + 2]]
    goldens += [word for word in words if word.startswith(tuple(f"{name}=" for name in told))]
    beside = [word for file in BESIDE if file.exists() for word in ("--parity-attach", str(file))]
    # With as many threads as a worker has: it adds up in the same order, to the same bits.
    session.run("parity", "golden", "build", "--new", *goldens, env=ONE_THREAD)
    if PACKAGES.exists():  # each state of the code keeps 350 MB; two weeks cover a branch's life
        session.run("parity", "store", "gc", str(PACKAGES), "--older-than", "14")
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        session.run(
            "python",
            "-m",
            "pytest",
            *SUITES,
            "--parity-out",
            str(out),
            "--parity-history",
            str(HISTORY),
            "--parity-baseline",
            str(BASELINE),
            "--parity-waivers",
            str(WAIVERS),
            "--parity-store",
            str(PACKAGES),
            *beside,
            "-q",
            "--no-header",
            *WORKERS,
            "--dist",
            "loadscope",  # what shares a prediction stays together
            "--no-loadscope-reorder",  # packages first
            *words,
            env=ONE_THREAD,
        )
    finally:
        if "GITHUB_ACTIONS" in os.environ and (out / "run.json").exists():
            session.run("parity", "report", str(out / "run.json"), "--github")
    # pytest ends with 0 wherever it is made to do something else than run tests to their end.
    session.run("parity", "verdict", str(out / "run.json"), "--since", began)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the harness's own tests; arguments go to pytest."""
    install(session, "test", "onnx", "records", "dask", "s3")
    workers = [*WORKERS, "--dist", "worksteal"]
    # No options but those on the command line: some of them run no test, and all is green.
    alone = ONE_THREAD | {"PYTEST_ADDOPTS": "", "PYTHONOPTIMIZE": ""}
    session.run("python", "-m", "pytest", "suites/selftest", *workers, *session.posargs, env=alone)


@nox.session
def coreai(session: nox.Session) -> None:
    """Execute assets with Apple's Core AI: small networks, and the trained one once in FP32."""
    install(session, "test", "coreai")
    told = session.run("parity", "doctor", "--json", silent=True, env=PATIENT_THREADS) or ""
    engines = {engine["name"]: engine for engine in json.loads(told)["engines"]}
    if not engines["coreai"]["available"]:  # else every test is skipped, and all is green
        session.error(f"Core AI can't execute here: {engines['coreai']['reason']}")
    words = ["suites/selftest/coreai", "-m", "exhaustive or not exhaustive", *session.posargs]
    session.run("python", "-m", "pytest", *words, env=ONE_THREAD | {"PYTEST_ADDOPTS": ""})


@nox.session
def installed(session: nox.Session) -> None:
    """Build the wheel, install it where no clone is, and take a user's first steps with it."""
    tmp = Path(session.create_tmp()).absolute()
    for place in ("wheel", "empty", "cache", "own"):
        shutil.rmtree(tmp / place, ignore_errors=True)
    shutil.copytree(Path("examples", "networks", "decoder"), tmp / "own")
    session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp / "wheel"), ".")
    (wheel,) = (tmp / "wheel").glob("*.whl")
    session.install("-c", "constraints.txt", str(wheel))
    session.install("--force-reinstall", "--no-deps", str(wheel))  # the version has not changed
    (tmp / "empty").mkdir()
    session.chdir(tmp / "empty")
    # The folders of a user who has none of ours, on whatever system.
    cache = {name: str(tmp / "cache") for name in ("XDG_CACHE_HOME", "LOCALAPPDATA")}
    environment = PATIENT_THREADS | cache | {"PYTHONPATH": "", "COLUMNS": "200"}
    for words, code, said in FIRST_STEPS:
        command = ["parity", *shlex.split(words)]
        told = session.run(*command, env=environment, success_codes=[code], silent=True) or ""
        if said not in told:
            session.error(f"{shlex.join(command)} said nothing of {said!r}:\n{told}")
    if [path.name for path in Path.cwd().iterdir()] != ["mini.mlpackage"]:
        session.error(f"commands left {[*Path.cwd().iterdir()]}; expected mini.mlpackage alone")


@nox.session(default=False)
def conformance(session: nox.Session) -> None:
    """Judge the executor by coremltools' own operation tests; writes reports/conformance."""
    install(session, "test", "onnx")
    session.run("parity", "conformance", *session.posargs, env=PATIENT_THREADS)


@nox.session(default=False)
def known_bugs(session: nox.Session) -> None:
    """Ask ``parity check`` about every known bug as a package, and every harmless rewrite."""
    install(session, "test")
    words = ["suites/selftest/check", "suites/selftest/structure", "-m", "exhaustive", "-n", "2"]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def exhaustive(session: nox.Session) -> None:
    """Run the tests that take minutes and belong to no other session."""
    install(session, "test", "onnx", "records")
    elsewhere = ("check", "structure", "readers", "adapters", "ci", "store", "frontdoor")
    elsewhere += ("subjects/test_any_checkpoint.py", "precision/test_sweep_on_dask.py")
    words = ["suites/selftest", "-m", "exhaustive", *WORKERS, "--dist", "worksteal"]
    words += [f"--ignore=suites/selftest/{place}" for place in elsewhere]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def checkpoints(session: nox.Session) -> None:
    """Check 24 checkpoints of networks of one's own, each converted and through a song."""
    install(session, "test")
    words = ["suites/selftest/subjects/test_any_checkpoint.py", "-m", "", "-n", "2"]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def adapters(session: nox.Session) -> None:
    """Adapt packages in layouts of other converters, judge them, plant faults, and ask the lab."""
    install(session, "test")
    words = ["suites/selftest/adapters", "-m", "", "-n", "2"]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Try every reader with 5,000 damaged files, and with the worst of the largest size."""
    install(session, "test")
    words = ["-m", "", "--mutants", "5000", "-q", *session.posargs]
    session.run("python", "-m", "pytest", "suites/selftest/readers", *words, env=PATIENT_THREADS)


@nox.session(default=False)
def networks(session: nox.Session) -> None:
    """Take six networks that are not HTDemucs through every command, and plant a fault in each."""
    install(session, "test", "networks")
    words = ["suites/networks", "-m", "exhaustive", "-n", "2", "--dist", "loadscope"]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Inject every known bug, and fail unless each is caught; writes reports/faults."""
    install(session, "test")
    session.run(
        "parity",
        "faults",
        "--out",
        str(Path("reports", "faults")),
        *session.posargs,
        env=PATIENT_THREADS,
    )


@nox.session(default=False)
def golden(session: nox.Session) -> None:
    """Regenerate all goldens and record their fingerprints in golden/manifest.json."""
    install(session)
    session.run("parity", "golden", "build", "--force", "--record", *session.posargs)


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Render reports/latest again from its run.json."""
    install(session)
    run = session.posargs or [str(LATEST / "run.json")]
    session.run("parity", "report", *run, "--out", str(LATEST))


@nox.session(default=False)
def distributed(session: nox.Session) -> None:
    """Sweep a thousand cells on Dask while workers are killed, and on S3 while requests fail."""
    install(session, "test", "dask", "s3")
    words = ["suites/selftest/precision/test_sweep_on_dask.py", "suites/selftest/store", "-m", ""]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def workflow(session: nox.Session) -> None:
    """Execute the shell steps of docs/ci.md in a fresh clone, and the notebook."""
    install(session, "test")
    words = ["suites/selftest/ci", "suites/selftest/frontdoor", "-m", ""]
    session.run("python", "-m", "pytest", *words, *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks: ratios, measured side by side; writes reports/bench."""
    install(session, "test", "onnx", "bench")
    out = ["--bench-out", str(BENCH)]
    session.run("python", "-m", "pytest", "suites/bench", "-q", "-s", *out, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, types and who imports whom."""
    install(session, "lint", "test")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports")

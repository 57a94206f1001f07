"""Another user of the machine attacks a run that is at work: nothing is theirs to have.

The same attack on a cluster that is not locked gets all of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from seedwise.cluster.keys import KEY_FILE, LINK_FILE
from tests.testbed.daemons import HANGS_S, poll

PROBE = Path(__file__).parent / "another_user_probe.py"
NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be two users: itself and another one"
)

#: Asked of every server besides the routes that a scheduler has; the first ones in more ways.
PAGES = [
    "/status",
    "/info/main/logs.html",
    "/json/identity.json",
    "/statics/css/base.css",
    "/health",
    "/metrics",
]

SCRIPT = """
import sys, time
from pathlib import Path
import seedwise as sw

FOLDER = Path(__file__).parent

@sw.loss(name="gate", description="waits at a gate", parameter_space={"x": (0.0, 1.0)})
def gate(params, seed):
    (FOLDER / f"waiting-{seed}").touch()
    while not (FOLDER / "open").exists():
        time.sleep(0.02)
    return params["x"] + seed

if __name__ == "__main__":
    result = sw.optimize_run(
        gate,
        cluster=sys.argv[1],
        n_trials=1,
        n_seeds=2,
        chunk_size=1,
        workers=2,
        run_root=FOLDER,
        run_name="attacked",
        self_check=False,  # each worker waits at the gate with a seed of its own
        slurm=sw.SlurmOptions(interface="lo"),
    )
    print(result.n_trials)
"""


@pytest.fixture
def folder():
    """Give a folder that every user can look into, unlike tmp_path."""
    made = Path(tempfile.mkdtemp(prefix="seedwise-another-user-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def markers(folder):
    """Give a folder that every user can write to."""
    made = folder / "markers"
    made.mkdir()
    made.chmod(0o777)
    return made


def probe(servers, markers, timeout_s, routes=(), files=(), **others):
    """Attack as another user; return what was found."""
    orders = {
        "uid": NOBODY,
        "servers": sorted(servers),
        "timeout_s": timeout_s,
        "routes": list(routes),
        "tokens": others.pop("tokens", []),
        "files": [str(file) for file in files],
        "marker_dir": str(markers),
        **others,
    }
    done = subprocess.run(
        [sys.executable, PROBE],
        input=json.dumps(orders),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["uid"] == NOBODY
    return found


def listening(process):
    """Return where a driver, all that it started, and its Slurm jobs listen."""
    jobs = [one for one in psutil.process_iter(["environ"]) if is_of_job(one)]
    return {
        (at.laddr.ip, at.laddr.port)
        for one in [process, *process.children(recursive=True), *jobs]
        for at in one.net_connections("tcp")
        if at.status == psutil.CONN_LISTEN
    }


def is_of_job(process):
    return (process.info["environ"] or {}).get("SLURM_JOB_NAME") == "attacked"


def all_routes(scheduler) -> list[str]:
    """Return a path for each route of a scheduler's pages."""
    main = scheduler.http_application
    found = list(PAGES)
    for application in [main, *main.applications]:
        routers = [application.default_router, application.wildcard_router]
        while routers:
            for rule in routers.pop().rules:
                pattern = getattr(getattr(rule.matcher, "regex", None), "pattern", None)
                if hasattr(rule.target, "rules"):
                    routers.append(rule.target)
                elif pattern:
                    found.append(re.sub(r"\(.*?\)", "x", pattern.rstrip("$")))
    return list(dict.fromkeys(route for route in found if route.startswith("/")))


@pytest.fixture(scope="module")
def plain():
    """Give a cluster that is not locked."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@contextmanager
def run_at_work(folder, where):
    """Give the process of a run whose loss waits for a file, and what it printed."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    stderr = folder / "stderr"
    with stderr.open("w") as file:
        driver = subprocess.Popen(
            [sys.executable, script, where], stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        poll(
            lambda: driver.poll() is not None or len(list(folder.glob("waiting-*"))) == 2,
            "the loss to be at work",
        )
        assert driver.poll() is None, stderr.read_text()
        yield driver, stderr
    finally:
        driver.kill()
        driver.communicate()


def outcomes(found):
    """Return what tries to run code led to, and how often."""
    return Counter(words.partition(":")[0] for words in found["code"].values())


@pytest.fixture(
    params=[
        "local",
        pytest.param("slurm", marks=[pytest.mark.slurm, pytest.mark.full]),
    ]
)
def where(request):
    """Name the cluster that is attacked; for Slurm there is one."""
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    return request.param


def test_a_run_that_is_at_work(where, folder, markers, plain):
    (folder / "bait").write_text("bait")
    keys = folder / "attacked" / "keys"
    locked = [keys, keys / KEY_FILE, keys / LINK_FILE]
    files = [*locked, folder / "bait", folder / "stderr"]
    routes = all_routes(plain.scheduler)
    assert len(routes) > 200
    with run_at_work(folder, where) as (driver, stderr):
        text = (keys / LINK_FILE).read_text()
        link = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/status\?token=(\S+)\n", text)
        assert link is not None
        key = (keys / KEY_FILE).read_text()
        servers = listening(psutil.Process(driver.pid))
        # Scheduler and its pages, two nannies, two workers, all on the loopback interface.
        assert len(servers) == 6
        assert {host for host, _ in servers} == {"127.0.0.1"}

        found = probe(servers, markers, 3, routes, files, tokens=["", "wrong", "A" * 43])

        assert outcomes(found) == {"refused": len(servers) * 3 * 4}
        assert list(markers.iterdir()) == []
        assert {page["status"] for page in found["pages"]} == {0, 403}
        of_pages = [page for page in found["pages"] if page["status"] == 403]
        assert {page["server"] for page in of_pages} == {f"127.0.0.1:{link[1]}"}
        assert {page["path"] for page in of_pages} >= {*routes, "/eventstream", "/status/ws"}
        assert {found["files"][str(file)] for file in locked} == {"<PermissionError>"}
        assert found["files"][str(folder / "bait")] == "bait"
        # What the driver prints may be a log that all can read: it says where the link is.
        assert str(keys / LINK_FILE) in found["files"][str(stderr)]
        assert "token=" not in found["files"][str(stderr)]
        line, environment = found["processes"][str(driver.pid)]
        assert str(folder / "script.py") in line
        assert environment == "<PermissionError>"
        secrets = [link[2], *key.splitlines()[1:-1]]
        assert not [secret for secret in secrets if secret in json.dumps(found)]

        assert "distributed" not in stderr.read_text()  # nor is the terminal flooded

        # It is the key that it lacks: with it, it would be in by each server but the pages.
        servers = {one for one in servers if one[1] != int(link[1])}
        pem = key + ssl.get_server_certificate(next(iter(servers)))  # which anybody can see
        ways = ["as a peer, run", "as a peer, run_function"]
        found = probe(servers, markers, 60, protocols=["tls, certificate"], ways=ways, pem=pem)
        assert outcomes(found)["ran"] == 1 + 4

        # Nor was the run disturbed.
        (folder / "open").touch()
        stdout, _ = driver.communicate(timeout=HANGS_S)
        assert (driver.returncode, stdout) == (0, "1\n"), stderr.read_text()
        assert not keys.exists()


@pytest.mark.full
def test_the_same_attack_on_a_plain_local_cluster(folder, markers, plain):
    attack(plain.scheduler, folder, markers)


@pytest.mark.slurm
@pytest.mark.full
def test_the_same_attack_on_a_plain_slurm_cluster(slurm, folder, markers):
    # After the module that undoes what its import does to signals.
    from seedwise.cluster.slurm import SLURMCluster

    with SLURMCluster(
        n_workers=2,
        cores=1,
        processes=1,
        memory="500MB",
        interface="lo",
        log_directory=str(folder),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        poll(lambda: len(cluster.scheduler.workers) == 2, "two workers")
        attack(cluster.scheduler, folder, markers)


def attack(scheduler, folder, markers):
    """What it can't do above, it can do here."""
    peers = [worker.nanny for worker in scheduler.workers.values()] + list(scheduler.workers)
    peers = [address.partition("://")[2] for address in peers]
    at, pages = scheduler.address.partition("://")[2], f"127.0.0.1:{scheduler.http_server.port}"
    servers = [(host, int(port)) for host, port in (a.split(":") for a in [at, pages, *peers])]
    routes = [*PAGES, "/info/main/workers.html", "/json/counts.json", "/individual-task-stream"]
    key = folder / "key.pem"
    key.write_text("secret")

    found = probe(servers, markers, 20, routes, [key], protocols=["tcp"])

    assert {how for how, words in found["code"].items() if words == "ran"} == {
        f"{at} tcp, as a client, on the scheduler",
        f"{at} tcp, as a client, in a task",
        f"{at} tcp, as a peer, run_function",
        *(f"{peer} tcp, as a peer, run" for peer in peers),
    }
    assert len(list(markers.iterdir())) == 3 + len(peers)
    assert {marker.stat().st_uid for marker in markers.iterdir()} == {os.getuid()}

    statuses = {(page["path"], page["status"]) for page in found["pages"]}
    assert statuses >= {(route, 200) for route in routes} | {("/eventstream", 101)}
    assert 403 not in {status for _, status in statuses}
    assert found["files"][str(key)] == "secret"

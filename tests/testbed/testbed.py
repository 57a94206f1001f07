"""A real Slurm cluster on one Debian machine, started and stopped by tests.

One folder under ``/tmp`` holds all of it: configuration, sockets, database,
logs, pid files. Nothing of a Slurm, MariaDB or munge of the system is read or
written, and any number of testbeds can run at the same time.

From a shell, in the root of the repository::

    python -m tests.testbed.testbed up      # prints lines to eval
    python -m tests.testbed.testbed down FOLDER
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

if __package__ in (None, ""):  # run by path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.testbed import config, daemons
from tests.testbed.daemons import DeadlineError, poll

REUSE_VARIABLE = "SEEDWISE_SLURM_TESTBED"
PREFIX = "swslurm-"
BINARIES = (
    "munged",
    "mariadbd",
    "mariadb-install-db",
    "slurmdbd",
    "slurmctld",
    "slurmd",
    "sacctmgr",
    "sbatch",
    "squeue",
    "sacct",
    "scancel",
)
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin"])
FOREIGN = re.compile(
    r"(SLURM|SBATCH|SALLOC|SRUN|SQUEUE|SINFO|SACCT|SCANCEL|SCONTROL|MYSQL|MARIADB)_?.*"
)
"""Variables of the caller that would change what Slurm's commands do."""

SMALL_DATABASE = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
)


class SlurmUnavailable(Exception):  # noqa: N818 - a reason to skip, not an error
    """This machine cannot run a testbed; the message says why."""


class TestbedError(RuntimeError):
    """A daemon did not come up, or a command of Slurm failed."""

    __test__ = False  # not a test class, whatever pytest makes of its name


def require() -> None:
    """Raise `SlurmUnavailable` unless a testbed can be started here."""
    if not sys.platform.startswith("linux"):
        raise SlurmUnavailable("the Slurm testbed needs Linux")
    if os.geteuid() != 0:
        raise SlurmUnavailable("the Slurm testbed needs root")
    missing = [name for name in BINARIES if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        raise SlurmUnavailable(
            f"not installed: {', '.join(missing)} (see tests/testbed/install.sh)"
        )


def _binary(name: str) -> str:
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise SlurmUnavailable(f"not installed: {name} (see tests/testbed/install.sh)")
    return found


def _addresses(hostname: str) -> set[str]:
    """Return what a name resolves to, nothing if it does not."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(hostname, None)}
    except OSError:
        return set()


class Testbed:
    """A Slurm cluster with four nodes, two partitions and accounting.

    See `tests.testbed.config` for its partitions, accounts and QoS.

    Attributes
    ----------
    folder : Path
        All of its files; gone after `stop`. Before `start` it does not exist.
    env : dict of str
        Variables that make Slurm's commands use this cluster.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, folder: Path | None = None) -> None:
        """Prepare a testbed; with `folder`, be the one that runs there already."""
        self.folder = Path("/nonexistent") if folder is None else Path(folder).resolve()

    @property
    def env(self) -> dict[str, str]:
        """Variables that make Slurm's commands use this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- using it ---------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the whole environment for a command: the caller's, cleaned, and `env`."""
        kept = {key: value for key, value in os.environ.items() if not FOREIGN.fullmatch(key)}
        return {**kept, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", **self.env}

    def call(
        self, *argv: str, stdin: str = "", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm here and return it, whether it failed or not."""
        return subprocess.run(
            argv,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *argv: str, stdin: str = "", timeout: float = 60.0) -> str:
        """Run a command of Slurm here and return what it wrote to standard output.

        Raises
        ------
        TestbedError
            If it failed; the message holds what it wrote to standard error.
        """
        done = self.call(*argv, stdin=stdin, timeout=timeout)
        if done.returncode != 0:
            raise TestbedError(
                f"{shlex.join(argv)} exited with {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done.stdout

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that are queued, running or ending."""
        return self.run("squeue", "--noheader", "--all", "--format=%A").split()

    def answers(self) -> bool:
        """Whether the controller of this cluster can be reached."""
        return self.folder.is_dir() and "is UP" in self.call("scontrol", "ping").stdout

    # -- starting ---------------------------------------------------------

    def start(self) -> None:
        """Start all daemons and wait until four idle nodes can take jobs.

        Raises
        ------
        SlurmUnavailable
            If this machine cannot run one.
        TestbedError
            If a daemon failed; what had been started is stopped again.
        """
        require()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
        try:
            self._configure()
            self._start_munged()
            self._start_database()
            self._start_slurmdbd()
            self._create_accounting()
            self._start_cluster()
        except BaseException:
            self.stop()
            raise

    def _configure(self) -> None:
        """Write the folder's files; sub-folders are for root only."""
        self.folder.chmod(0o755)
        spools = [f"spool/{node}" for node in config.NODES]
        for name in ("log", "run", "pid", "state", "db", "spool", *spools):
            (self.folder / name).mkdir(mode=0o700)
        ports = config.Ports.of(daemons.free_ports(2 + len(config.NODES)))
        hostname = socket.gethostname()
        slurm_conf = config.slurm_conf(
            self.folder,
            ports,
            hostname.partition(".")[0],
            loopback_only=_addresses(hostname) == {"127.0.0.1"},
        )
        (self.folder / "slurm.conf").write_text(slurm_conf)
        (self.folder / "cgroup.conf").write_text(config.CGROUP_CONF)
        private = self.folder / "slurmdbd.conf"
        private.touch(mode=0o600)
        private.write_text(config.slurmdbd_conf(self.folder, ports))
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))

    def _spawn(self, name: str, *argv: str) -> None:
        env = {**self.environment(), "SEEDWISE_SLURM_FOLDER": str(self.folder)}
        env["MYSQL_UNIX_PORT"] = str(config.database_socket(self.folder))
        log = self.folder / "log" / f"{name}.out"
        binary = _binary(argv[0])
        # On Debian slurmctld leads to slurmctld-wlm. It is known again by the
        # latter, but must be called by the former: it looks at its own name
        # to find out what it is, and crashes under any other.
        program = Path(binary).resolve().name
        pid_file = self.folder / "pid" / f"{name}.{program}"
        daemons.spawn([binary, *argv[1:]], env, log, pid_file)

    def _await(self, name: str, check: list[str] | Path, expected: str = "") -> None:
        """Wait for a daemon: a socket that answers, or a command with a certain output."""

        def ready() -> bool:
            if self._pids(name) == []:
                raise TestbedError(f"{name} has ended")
            if isinstance(check, Path):
                with socket.socket(socket.AF_UNIX) as probe:
                    return probe.connect_ex(str(check)) == 0
            done = self.call(*check)
            seen[:] = [f"{shlex.join(check)}: {done.stdout}{done.stderr}"]
            return done.returncode == 0 and re.search(expected, done.stdout) is not None

        seen: list[str] = []
        try:
            poll(ready, f"{name} to answer")
        except (DeadlineError, TestbedError) as error:
            raise TestbedError("\n".join([str(error), *seen, self._log_tail(name)])) from None

    def _log_tail(self, name: str) -> str:
        """Return the last lines of a daemon's logs."""
        lines: list[str] = []
        for path in sorted((self.folder / "log").glob(f"{name}.[io]*")):  # .install, .out
            tail = path.read_text(errors="replace").splitlines()[-25:]
            lines += [f"--- {path.name}", *tail]
        return "\n".join(lines)

    def _start_munged(self) -> None:
        folder = self.folder
        self._spawn(
            "munged",
            "munged",
            "--foreground",
            "--force",
            f"--socket={config.munge_socket(folder)}",
            f"--key-file={folder}/munge.key",
            f"--log-file={folder}/log/munged.log",
            f"--pid-file={folder}/run/munged.pid",
            f"--seed-file={folder}/run/munged.seed",
        )

    def _start_database(self) -> None:
        # At its start mariadbd deletes temporary tables of any other in the same tmpdir.
        places = [f"--datadir={self.folder}/db", f"--tmpdir={self.folder}/run"]
        common = ["--no-defaults", "--user=root", *places, *SMALL_DATABASE]
        installed = self.call(_binary("mariadb-install-db"), "--skip-test-db", *common)
        (self.folder / "log" / "mariadbd.install").write_text(installed.stdout + installed.stderr)
        if installed.returncode != 0:
            raise TestbedError(f"mariadb-install-db failed\n{self._log_tail('mariadbd')}")
        # No port, and a socket in a folder of root's: no passwords are needed.
        listen = config.database_socket(self.folder)
        own = [f"--socket={listen}", f"--pid-file={self.folder}/run/mariadbd.pid"]
        lenient = ["--skip-networking", "--skip-grant-tables", "--innodb-lock-wait-timeout=900"]
        self._spawn("mariadbd", "mariadbd", *common, *own, *lenient)
        self._await("munged", config.munge_socket(self.folder))
        self._await("mariadbd", listen)

    def _start_slurmdbd(self) -> None:
        self._spawn("slurmdbd", "slurmdbd", "-D")
        self._await("slurmdbd", ["sacctmgr", "-n", "-P", "list", "qos", "format=name"], "normal")

    def _create_accounting(self) -> None:
        for command in config.ACCOUNTING:
            self.run("sacctmgr", "-i", *command)

    def _start_slurmctld(self) -> None:
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._await("slurmctld", ["scontrol", "ping"], r"\bUP\b")

    def _start_cluster(self) -> None:
        self._start_slurmctld()
        conf = str(self.folder / "slurm.conf")
        for node in config.NODES:
            self._spawn(node, "slurmd", "-D", "-f", conf, "-N", node)
        for node in config.NODES:
            self._await(node, ["sinfo", "-h", "-n", node, "-p", "main", "-o", "%T"], r"^idle$")

    # -- disturbing -------------------------------------------------------

    def halt(self, name: str) -> None:
        """Stop ``slurmctld`` or ``slurmdbd``, until `revive`."""
        pids = self._pids(name)
        if not pids:
            raise TestbedError(f"{name} does not run")
        daemons.end(pids, patience=5)

    def revive(self, name: str) -> None:
        """Start what `halt` stopped, and wait until it answers."""
        if name == "slurmdbd":
            self._start_slurmdbd()
        else:
            self._start_slurmctld()

    # -- stopping ---------------------------------------------------------

    def _pids(self, *names: str) -> list[int]:
        """Return the running daemons of some names, each verified to be ours."""
        found: list[int] = []
        for name in names:
            for pid_file in (self.folder / "pid").glob(f"{name}.*"):
                pid = daemons.daemon_pid(pid_file, pid_file.suffix[1:], self.folder)
                found += [] if pid is None else [pid]
        return found

    def stop(self) -> None:
        """Cancel what is queued, end the daemons, remove the folder.

        Safe to call twice, and after a start that failed half-way.
        """
        if not self.folder.is_dir() or not self.folder.name.startswith(PREFIX):
            return
        if self._pids("slurmctld"):
            self._cancel_all()
        daemons.end(self._pids("slurmctld", *config.NODES), patience=4)
        daemons.end(self._pids("slurmdbd"), patience=3)
        daemons.end(daemons.leftovers(self.folder), patience=0)
        daemons.end(self._pids("mariadbd", "munged"), patience=3)
        shutil.rmtree(self.folder)

    def _cancel_all(self) -> None:
        """Cancel all jobs; those that will not go in time are killed by `stop`."""
        user = f"--user={os.getuid()}"
        try:
            for how in (["--signal=KILL", "--full"], []):
                self.call("scancel", *how, user, timeout=5)
            poll(lambda: not self.jobs(), "the queue to be empty", 2)
        except (DeadlineError, TestbedError, subprocess.TimeoutExpired):
            pass


def main(argv: list[str] | None = None) -> int:
    """Start a testbed that stays, or stop one (see the module's docstring)."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.testbed")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start one, leave it running, print its variables")
    commands.add_parser("down", help="stop one").add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    if options.command == "down":
        if not options.folder.is_dir():
            print(f"there is no {options.folder}", file=sys.stderr)
            return 1
        Testbed(options.folder).stop()
        return 0
    testbed = Testbed()
    try:
        testbed.start()
    except (SlurmUnavailable, TestbedError) as error:
        print(error, file=sys.stderr)
        return 1
    for key, value in {**testbed.env, REUSE_VARIABLE: str(testbed.folder)}.items():
        print(f"export {key}={shlex.quote(value)}")
    print(f"# stop it with: python -m tests.testbed.testbed down {testbed.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

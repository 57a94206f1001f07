"""The Slurm job of a worker: what it asks for, and from which setting each value comes."""

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import dask
from distributed import Security

from seedwise.cluster.dask_settings import WORKER_SETTINGS, thread_settings
from seedwise.cluster.place import RunTag
from seedwise.disk.files import replace_file
from seedwise.errors import OptionError, SubmitRefusedError
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.slurm_time import time_s, time_text
from seedwise.slurm.commands import memory_mb, memory_text
from seedwise.slurm.preflight.check import NO_LIMIT_S, request_in
from seedwise.slurm.preflight.rules import Request
from seedwise.slurm.queue import job_name, quoted_file

_OLD_NAMES = {
    "account": "project",
    "job-directives-skip": "header-skip",
    "job-extra-directives": "job-extra",
    "job-script-prologue": "env-extra",
    "worker-extra-args": "extra",
}
#: Settings about which dask-jobqueue warns unless they are None; the keywords hold them already.
OLD_SETTINGS = dict.fromkeys(f"jobqueue.slurm.{name}" for name in _OLD_NAMES.values())

# The site's settings that stand in for an option that is not given, the first of them first.
_OF_SITE = {
    "partition": ["queue"],
    "account": ["account"],
    "interface": ["interface"],
    "extra_directives": ["job-extra-directives"],
    "prologue": ["job-script-prologue"],
    "python": ["python"],
    "local_directory": ["local-directory"],
    "cpus_per_task": ["job-cpu", "cores"],
    "mem_per_cpu": ["job-mem", "memory"],
    "worker_time_limit": ["walltime"],
}

# What the nanny itself takes, and what Slurm counts but the nanny does not see.
_HEADROOM_B = 192 * 1024**2
_HEADROOM_PART = 0.05

# Prints this node's address towards the scheduler: the worker listens on no other.
_OWN_ADDRESS = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    "s.connect((sys.argv[1], 9)); print(s.getsockname()[0])"
)

# Arguments that have a worker leave after a fixed time, whatever it is doing.
_LIFETIME = re.compile(
    r"""(?<!\S)--(?:no-)?lifetime(?:-restart|(?:-stagger)?(?:=|\s+)(?:'[^']*'|"[^"]*"|\S+))(?!\S)"""
)


@attrs.frozen
class JobPlan:
    """What a job needs to know beyond the run's options."""

    tag: RunTag
    #: Chunks that a worker evaluates at once.
    threads: int
    host: str
    #: Keys of the connections; None means open connections.
    security: Security | None = None


def job_keywords(options: WorkOptions, plan: JobPlan) -> dict[str, Any]:
    """Return the keywords of dask-jobqueue's SLURMJob for a run, without the QoS.

    A keyword of the call comes first, then `SlurmOptions`, then Dask's configuration, then the
    keyword's default. What is left None is read from Dask's configuration by dask-jobqueue.
    """
    slurm = options.slurm_settings
    directives = _given_or_site(slurm.extra_directives, "job-extra-directives")
    n_cpus, job_mem, walltime = _resources(options, directives)
    python = _python(slurm)
    interface = slurm.interface or _site("interface")
    own_address = shlex.join(["-I", "-c", _OWN_ADDRESS, plan.host])
    return {
        "cores": plan.threads,
        "processes": 1,
        "job_cpu": n_cpus,
        "memory": f"{worker_memory_b(job_mem)}B",
        "job_mem": job_mem,
        "walltime": walltime,
        "queue": slurm.partition,
        "account": slurm.account or _site("account"),
        "interface": interface,
        "death_timeout": 60,
        "local_directory": '"$SEEDWISE_SCRATCH"',
        # -P: no modules from the job's working folder, which may be anybody's, such as /tmp.
        "python": f"{python} -P",
        "job_name": job_name(plan.tag.name),
        "worker_extra_args": _worker_arguments(plan, interface),
        "job_extra_directives": [
            *directives,
            f"-o {quoted_file(plan.tag.log_dir, '%J.out')}",
            f"-e {quoted_file(plan.tag.log_dir, '%J.err')}",
            "--open-mode=append",
            "--no-requeue",  # it would come back to a pool that has replaced it
            f"--comment={plan.tag.job_tag}",
        ],
        # Slurm takes only one of --mem and --mem-per-....
        "job_directives_skip": [
            *_given_or_site(None, "job-directives-skip"),
            *(["--mem="] if any("--mem-per-" in line for line in directives) else []),
        ],
        "job_script_prologue": [
            "umask 077",
            *_ends_at(walltime),
            *_exports(options, plan),
            *_given_or_site(slurm.prologue, "job-script-prologue"),
            *_scratch(slurm),
            *([] if interface else [f'SEEDWISE_ADDRESS="$({python} {own_address})" || exit']),
        ],
    }


def _python(slurm: SlurmOptions) -> str:
    """Return the command that starts Python on the nodes, for a shell."""
    given = _python_words(slurm)
    in_shell = [
        _in_shell(word) if "$" in word or word.startswith("~") else shlex.quote(word)
        for word in given
    ]
    return " ".join(in_shell) or shlex.quote(sys.executable)


def _python_words(slurm: SlurmOptions) -> Sequence[str]:
    # The site's text is read as the option's is.
    return slurm.python or SlurmOptions(python=_site("python") or None).python or ()


def require_python(slurm: SlurmOptions) -> None:
    """Raise OptionError for a command that no shell could start, as far as its file is here."""
    words = _python_words(slurm)
    path = Path(words[0]).expanduser() if words else Path()
    if not path.is_file() or shutil.which(path.absolute() if "/" in words[0] else path):
        return
    start = shlex.quote(str(path) if path.is_absolute() else f"./{path}")
    hint = f"A shell looks for a plain word on PATH only: write {start}."
    if not os.access(path, os.X_OK):
        hint = f"The file is not executable: chmod +x {start}, or write 'bash {start}'."
    raise OptionError("python", shlex.join(words), "a command that a shell can start", hint)


def site_options() -> dict[str, tuple[str, Any]]:
    """Return the options that the site's Dask configuration has, each with its setting's name."""
    found = {option: _site_setting(*settings) for option, settings in _OF_SITE.items()}
    return {option: setting for option, setting in found.items() if setting[1] is not None}


@contextlib.contextmanager
def script_kept(tag: RunTag) -> Iterator[None]:
    """Keep the script of a refused job beside the run's folder, which goes if the run is new."""
    try:
        yield
    except SubmitRefusedError as error:
        path = tag.log_dir.parent.parent / "refused_job.sh"
        try:
            replace_file(path, error.script.encode(), durable=False)
        except OSError:  # the refusal is more important
            raise error from None
        raise SubmitRefusedError(error.stderr, error.script, error.problems, path) from None


def worker_memory_b(job_memory: str) -> int:
    """Return the bytes that a worker may take before its nanny ends it, not Slurm its job."""
    job_b = int((memory_mb(job_memory) or 0) * 1024**2)
    return max(job_b // 2, int(job_b * (1 - _HEADROOM_PART)) - _HEADROOM_B)


def _worker_arguments(plan: JobPlan, interface: str | None) -> list[str]:
    arguments = _given_or_site(None, "worker-extra-args")
    text = " ".join(map(str, arguments))
    if dropped := _LIFETIME.findall(text):
        plan.tag.note(
            f"{' '.join(dropped)} of jobqueue.slurm.worker-extra-args is left out: workers leave "
            "by themselves before their job's walltime, when their chunks are done"
        )
        arguments = _LIFETIME.sub("", text).split()
    arguments += ["--no-dashboard", "--preload", "seedwise.worker.servers"]
    arguments += ["--preload-nanny", "seedwise.worker.servers"]
    if not interface:
        arguments += ["--host", '"$SEEDWISE_ADDRESS"']
    if plan.security is not None:
        arguments += ["--worker-class", "seedwise.worker.servers.LockedWorker"]
    return arguments


def _resources(options: WorkOptions, directives: Sequence[str]) -> tuple[int, str, str]:
    """Return CPUs, memory and walltime of a job, as Slurm reads them: the last directive wins."""
    n_cpus = int(_call_or_site(options, "cpus_per_task")[0])
    try:
        n_cpus = _asked([f"--cpus-per-task={n_cpus}", *directives]).cpus
    except ValueError:  # Slurm will say what is wrong, or knows a form that we don't
        directives = []
    memory, is_sites = _call_or_site(options, "mem_per_cpu")
    if not is_sites:  # a CPU's
        memory = memory_text((memory_mb(memory) or 0) * n_cpus)
    memory = str(memory).replace(" ", "").rstrip("iBb")  # a site may write it as Dask does
    walltime, _ = _call_or_site(options, "worker_time_limit")
    if isinstance(walltime, timedelta):
        walltime = time_text(max(1, walltime.total_seconds()))
    header = [f"--cpus-per-task={n_cpus}", f"--mem={memory}", f"--time={walltime}"]
    ours, asked = _asked(header), _asked([*header, *directives])
    if asked.time_s != ours.time_s:
        limit_s = asked.time_s
        walltime = time_text(limit_s if limit_s and limit_s < NO_LIMIT_S else None)
    return n_cpus, memory_text(asked.memory_mb), str(walltime)


def _asked(directives: Sequence[str]) -> Request:
    return request_in("".join(f"#SBATCH {line}\n" for line in directives), n_jobs=1)


def _ends_at(walltime: str) -> list[str]:
    """Have the job know when it ends: from Slurm, or else counted from its first line."""
    limit_s = time_s(walltime)
    if limit_s is None:
        return []
    counted = f"$(( $(date +%s) + {int(limit_s)} ))"
    return [f"export SEEDWISE_JOB_ENDS_AT=${{SLURM_JOB_END_TIME:-{counted}}}"]


def _exports(options: WorkOptions, plan: JobPlan) -> list[str]:
    settings: dict[str, Any] = dict(WORKER_SETTINGS)
    if plan.security is not None:
        keys = plan.security.get_tls_config_for_role("worker")
        settings |= {
            "distributed.comm.require-encryption": True,
            # The certificate itself: a file at a path could be replaced by another user.
            "distributed.comm.tls.ca-file": keys["ca_file"],
            "distributed.comm.tls.worker.cert": keys["cert"],
            "distributed.comm.tls.worker.key": keys["key"],
        }
    variables = {
        f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": shlex.quote(str(value))
        for key, value in settings.items()
    }
    variables["PYTHONUNBUFFERED"] = "1"
    # What the user has set for all programs is kept, as Dask's nanny does.
    variables |= {name: f"${{{name}:-{n}}}" for name, n in thread_settings(options).items()}
    return [f"export {name}={value}" for name, value in variables.items()]


def _scratch(slurm: SlurmOptions) -> list[str]:
    """Make a folder of the job's own, on its node, for the worker's temporary files.

    TMPDIR may have come from the driver's machine; a folder that the user names must do.
    """
    # Not in the same command as export, whose success would hide a failure.
    make = 'SEEDWISE_SCRATCH="$(mktemp -d {}/seedwise-XXXXXXXX)"'.format
    tries = [make('"${TMPDIR:-/tmp}"'), make("/tmp")]
    if folder := slurm.local_directory or _site("local-directory"):
        parent = _in_shell(str(folder))
        tries = [f"mkdir -p {parent} && {make(parent)}"]
    return [" || ".join([*tries, "exit"]), "export SEEDWISE_SCRATCH"]


def _in_shell(folder: str) -> str:
    """Quote a path, except for variables, which are those of the node."""
    folder = re.sub(r"^~(?=/|$)", "$HOME", re.sub(r'(["\\`])', r"\\\1", folder))
    return f'"{folder}"'


def _call_or_site(options: WorkOptions, keyword: str) -> tuple[Any, bool]:
    """Return the call's value, else the site's, else the default; and whether it is the site's."""
    value = None if keyword in options.given else _site(*_OF_SITE[keyword])
    return (getattr(options, keyword), False) if value is None else (value, True)


def _given_or_site(given: Sequence[str] | None, setting: str) -> list[str]:
    value = _site(setting) if given is None else given
    return [value] if isinstance(value, str) else list(value or [])


def _site(*settings: str) -> Any:
    """Return the value of the first of these settings that the site has; None if it has none."""
    return _site_setting(*settings)[1]


def _site_setting(*settings: str) -> tuple[str, Any]:
    """Return the first of these settings that the site has, by its name or old name; or None."""
    names = [name for setting in settings for name in (setting, _OLD_NAMES.get(setting)) if name]
    for key in (f"jobqueue.slurm.{name}" for name in names):
        value = dask.config.get(key, None)
        shipped = dask.config.merge(*dask.config.defaults)
        if value not in (None, "", []) and value == dask.config.get(key, None, config=shipped):
            value = dask.config.get(key, None, config=dask.config.collect())
        if value not in (None, "", []):
            return key, value
    return "", None

"""What Slurm's commands print about limits, and what comes of commands that do not answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs
import pytest

from seedwise.errors import SlurmNotFoundError
from seedwise.model.slurm_time import time_text
from seedwise.slurm.limits.read import (
    accounts_in,
    limits_in,
    nodes_in,
    partitions_in,
    partitions_of_sinfo,
    qos_in,
    settings_in,
    slurm_limits,
)
from seedwise.slurm.limits.records import NodeKind, SlurmLimits
from seedwise.slurm.preflight.rules import Request, problems
from tests.testbed.daemons import poll

BANNER = """\
*** Maintenance on Tuesday = bring cake ***
PartitionNames are explained at https://example.org/?a=b

"""
PARTITIONS = (
    BANNER
    + """\
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES \
QoS=N/A DefaultTime=NONE Hidden=NO MaxNodes=UNLIMITED MaxTime=7-00:00:00 MinNodes=0 \
MaxCPUsPerNode=UNLIMITED Nodes=c[1-3] OverSubscribe=NO State=UP TotalCPUs=272 \
TotalNodes=3 JobDefaults=(null) \
DefMemPerCPU=2000 MaxMemPerNode=UNLIMITED TRES=cpu=272,mem=62.50G,node=3,billing=272
PartitionName=gpu AllowGroups=vision,speech DenyAccounts=guests AllowQos=long,short Default=NO \
QoS=gpu DefaultTime=01:00:00 Hidden=YES MaxTime=UNLIMITED MaxCPUsPerNode=32 Nodes=g1 \
OverSubscribe=EXCLUSIVE State=DRAIN \
TotalCPUs=64 TotalNodes=1 MaxMemPerCPU=4000
PartitionName=empty AllowGroups=ALL AllowAccounts=art AllowQos=ALL Default=NO QoS=N/A \
DefaultTime=00:10:00 Hidden=NO MaxTime=INFINITE MaxCPUsPerNode=UNLIMITED Nodes=(null) \
OverSubscribe=FORCE:4 State=INACTIVE TotalCPUs=0 TotalNodes=0 MaxMemPerNode=UNLIMITED
"""
)
NODES = (
    BANNER
    + """\
NodeName=c1 Arch=x86_64 CPUAlloc=4 CPUEfctv=8 CPUTot=8 AvailableFeatures=old ActiveFeatures=old \
Gres=(null) OS=Linux 6.1.0 #1 SMP = good RealMemory=16000 AllocMem=0 State=MIXED Partitions=cpu \
CfgTRES=cpu=8,mem=16000M AllocTRES=
NodeName=c2 CPUAlloc=0 CPUTot=8 AvailableFeatures=old ActiveFeatures=old Gres=(null) \
RealMemory=16000 State=IDLE+DRAIN Partitions=cpu Reason=disk State=IDLE CPUTot=99 [root@2026]
NodeName=c3 CPUAlloc=0 CPUEfctv=254 CPUTot=256 AvailableFeatures=new,ib Gres=(null) \
RealMemory=512000 MemSpecLimit=2000 State=IDLE+CLOUD+POWERED_DOWN Partitions=cpu,all
NodeName=g1 CPUAlloc=64 CPUEfctv=64 CPUTot=64 AvailableFeatures=(null) \
Gres=gpu:a100:4(S:0-1),nvme:1 RealMemory=256000 State=ALLOCATED Partitions=gpu
"""
)
SETTINGS = """\
Configuration data as of 2026-11-21T09:40:23
AccountingStorageEnforce = associations,limits,qos,safe
ClusterName             = deep-thought
EnforcePartLimits       = any
CliFilterPlugins        = (null)
JobSubmitPlugins        = lua
MaxArraySize            = 1001
MaxJobCount             = 10000
MaxMemPerNode           = 250000
SLURM_VERSION           = 23.11.4
"""
QOS = """\
Welcome | to | the cluster
normal|0||||||
long|10|14-00:00:00|2|4|cpu=100,gres/gpu=2,mem=1.5T|cpu=64,node=1|DenyOnLimit,OverPartQOS
"""
ACCOUNTS = """\
deep-thought|art|art||normal|long,normal|||
deep-thought|art|guests|gpu|long|long|1-00:00:00|3|7
elsewhere|art|secret||normal|normal|||
"""


# Partitions and nodes.


def test_partitions():
    cpu, gpu, empty = partitions_in(PARTITIONS, NODES, settings_in(SETTINGS))
    assert (cpu.name, cpu.is_default, cpu.state) == ("cpu", True, "up")
    assert cpu.max_time_s == cpu.default_time_s == 7 * 86_400
    assert (cpu.max_memory_per_node_mb, cpu.max_memory_per_cpu_mb) == (250_000, None)
    assert cpu.qos is cpu.allow_groups is cpu.allow_accounts is cpu.max_cpus_per_node is None
    assert (gpu.state, gpu.is_hidden, gpu.qos) == ("drain", True, "gpu")
    assert (gpu.max_time_s, gpu.default_time_s) == (None, 3600)
    assert (gpu.max_memory_per_node_mb, gpu.max_memory_per_cpu_mb) == (None, 4000)
    assert (gpu.allow_accounts, gpu.deny_accounts) == (None, ("guests",))
    assert (gpu.allow_groups, gpu.allow_qos) == (("vision", "speech"), ("long", "short"))
    assert gpu.max_cpus_per_node == 32
    assert (cpu.is_exclusive, gpu.is_exclusive, empty.is_exclusive) == (False, True, False)
    assert (empty.state, empty.n_nodes, empty.allow_accounts) == ("inactive", 0, ("art",))
    assert cpu.unknown == gpu.unknown == empty.unknown == ()


def test_nodes_that_are_alike_come_together():
    (cpu, gpu, _) = partitions_in(PARTITIONS, NODES, {})
    old = NodeKind(
        n_nodes=2, n_usable=1, n_idle=0, cpus=8, memory_mb=16_000, idle_cpus=4, features=("old",)
    )
    new = NodeKind(
        n_nodes=1,
        n_usable=1,
        n_idle=1,
        cpus=254,
        memory_mb=510_000,
        idle_cpus=254,
        features=("new", "ib"),
    )
    assert cpu.node_kinds == (old, new)
    (kind,) = gpu.node_kinds
    assert (kind.gres, kind.features) == (("gpu:a100:4", "nvme:1"), ())
    assert (kind.n_usable, kind.n_idle, kind.idle_cpus) == (1, 0, 0)


@pytest.mark.parametrize(
    ("state", "usable", "idle"),
    [
        ("IDLE", 1, 1),
        ("IDLE~", 1, 1),
        ("idle*", 0, 0),
        ("DOWN*+DRAIN", 0, 0),
        ("IDLE+PLANNED", 1, 1),
        ("PLANNED", 1, 1),
        ("MIXED+CLOUD", 1, 0),
        ("IDLE+COMPLETING", 1, 0),
        ("IDLE+RESERVED", 1, 0),
        ("IDLE+NOT_RESPONDING", 0, 0),
        ("ALLOCATED+MAINTENANCE", 0, 0),
        ("MIXED#", 1, 0),
        ("FUTURE", 0, 0),
    ],
)
def test_the_state_of_a_node(state, usable, idle):
    text = NODES.splitlines()[3].replace("State=MIXED", f"State={state}")
    (kind,) = nodes_in(text)["cpu"]
    assert (kind.n_usable, kind.n_idle) == (usable, idle)


@pytest.mark.parametrize(
    "nodes",
    [
        None,
        "",
        NODES.replace("NodeName=c2", "Hidden=c2"),
        NODES.replace("RealMemory=16000", "RealMemory=N/A"),
        NODES.replace("CPUAlloc=4 ", ""),
    ],
    ids=["no answer", "nothing", "not all", "odd words", "words that lack"],
)
def test_nodes_of_which_not_all_are_known_are_unknown(nodes):
    cpu = partitions_in(PARTITIONS, nodes, {})[0]
    assert not cpu.knows("node_kinds")
    assert cpu.node_kinds == ()


def test_odd_words_of_a_partition_are_unknown():
    text = (
        "PartitionName=odd Default=MAYBE MaxTime=soon State=SLEEPY AllowAccounts=ALL TotalNodes=0"
    )
    (odd,) = partitions_in(text, NODES, settings_in(SETTINGS))
    assert odd.unknown == (
        *("max_memory_per_node_mb", "max_memory_per_cpu_mb", "is_default", "is_hidden", "state"),
        *("max_time_s", "default_time_s", "max_cpus_per_node", "is_exclusive", "qos"),
        *("allow_qos", "allow_groups"),
    )


def test_without_the_settings_a_partition_without_a_limit_on_memory_has_an_unknown_one():
    cpu, gpu, _ = partitions_in(PARTITIONS, NODES, {})
    assert not cpu.knows("max_memory_per_node_mb")
    assert gpu.knows("max_memory_per_cpu_mb")


def test_the_settings_can_limit_the_memory_of_a_cpu():
    settings = settings_in("MaxMemPerCPU = 2000")
    cpu = partitions_in(PARTITIONS, NODES, settings)[0]
    assert (cpu.max_memory_per_cpu_mb, cpu.max_memory_per_node_mb) == (2000, None)


SINFO = (
    BANNER
    + """\
cpu*@@up@@7-00:00:00@@n/a@@all@@NO@@2@@idle@@8@@4/8/4/16@@16000@@old@@(null)
cpu*@@up@@7-00:00:00@@n/a@@all@@NO@@1@@drained*@@254@@0/0/254/254@@510000@@new,ib@@(null)
gpu@@inact@@infinite@@1:00:00@@vision@@EXCLUSIVE@@0@@n/a@@0@@0/0/0/0@@0@@@@
"""
)


def test_sinfo_says_less():
    cpu, gpu = partitions_of_sinfo(SINFO, {})
    assert (cpu.name, cpu.is_default, cpu.state) == ("cpu", True, "up")
    assert cpu.max_time_s == cpu.default_time_s == 7 * 86_400
    assert (cpu.n_nodes, cpu.n_usable, cpu.cpus) == (3, 2, (8, 254))
    assert cpu.features == ("ib", "new", "old")
    assert not cpu.knows("allow_accounts")
    assert not cpu.knows("max_memory_per_node_mb")
    assert cpu.knows("node_kinds", "max_time_s", "allow_groups")
    assert (gpu.state, gpu.max_time_s, gpu.allow_groups) == ("inactive", None, ("vision",))
    assert (cpu.is_exclusive, gpu.is_exclusive) == (False, True)
    assert (gpu.knows("node_kinds"), gpu.n_nodes) == (True, 0)


def test_nodes_of_sinfo_that_are_not_understood():
    (cpu, _) = partitions_of_sinfo(SINFO.replace("16000", "16000+"), {})
    assert not cpu.knows("node_kinds")


# Accounting.


def test_limits_in_percent_of_the_cluster_are_unknown():
    (half,) = qos_in("half|0|1-00:00:00|2|4|cpu=50,mem=50|cpu=10|DenyOnLimit,Relative\n")
    assert (half.max_time_s, half.max_jobs, half.max_submit_jobs) == (86_400, 2, 4)
    sizes = ("cpus_per_user", "cpus_per_job", "memory_per_user_mb", "memory_per_job_mb")
    assert set(half.unknown) == {f"max_{size}" for size in sizes}


def test_qos():
    normal, long = qos_in(QOS)
    assert normal.max_time_s is normal.max_jobs is normal.max_cpus_per_user is None
    assert (normal.unknown, normal.flags) == ((), ())
    assert (long.priority, long.max_time_s, long.max_jobs, long.max_submit_jobs) == (
        *(10, 14 * 86_400, 2, 4),
    )
    assert (long.max_cpus_per_user, long.max_cpus_per_job) == (100, 64)
    assert (long.max_memory_per_user_mb, long.max_memory_per_job_mb) == (1.5 * 1024**2, None)
    assert long.flags == ("DenyOnLimit", "OverPartQOS")


def test_accounts():
    art, guests = accounts_in(ACCOUNTS, "Deep-Thought")
    assert (art.account, art.is_default, art.partition) == ("art", True, None)
    assert (art.default_qos, art.qos, art.max_jobs) == ("normal", ("long", "normal"), None)
    assert (guests.is_default, guests.partition) == (False, "gpu")
    assert (guests.max_time_s, guests.max_jobs, guests.max_submit_jobs) == (86_400, 3, 7)


def test_accounts_of_several_clusters_are_unknown_where_the_cluster_is():
    assert accounts_in(ACCOUNTS, None) is None
    assert len(accounts_in(ACCOUNTS.replace("elsewhere", "deep-thought"), None)) == 3


@pytest.mark.parametrize("qos", ["", "+long", "long,-short"])
def test_a_list_of_qos_that_is_not_whole_is_unknown(qos):
    (account,) = accounts_in(f"c|art|art|||{qos}|||", "c")
    assert account.unknown == ("default_qos", "qos")


# All of it.


def test_nothing_is_known_of_a_cluster_that_says_nothing():
    limits = limits_in({})
    assert set(limits.unknown) == {
        *("cluster", "version", "user", "partitions", "qos", "accounts", "max_array_size"),
        *("max_job_count", "enforce", "enforce_partition_limits", "submit_plugins"),
        "filter_plugins",
    }


def test_all_is_known_of_one_that_says_all():
    texts = {
        "partitions": PARTITIONS,
        "nodes": NODES,
        "settings": SETTINGS,
        "qos": QOS,
        "accounts": ACCOUNTS,
    }
    limits = limits_in(texts, user="anna")
    assert limits.unknown == ()
    assert (limits.cluster, limits.version, limits.user) == ("deep-thought", "23.11.4", "anna")
    assert (limits.max_array_size, limits.max_job_count) == (1001, 10_000)
    assert limits.enforce == ("associations", "limits", "qos", "safe")
    assert (limits.enforce_partition_limits, limits.submit_plugins) == ("ANY", ("lua",))
    assert [len(part) for part in (limits.partitions, limits.qos, limits.accounts)] == [3, 2, 2]


@pytest.mark.parametrize(
    ("text", "known"), [("", True), ("\n", True), ("Have a nice day\n", False), (None, False)]
)
def test_a_user_without_accounts_is_not_one_of_unknown_accounts(text, known):
    assert limits_in({"accounts": text}).knows("accounts") is known


# The commands.


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """An empty folder for commands, the first on the PATH, with a shell's own after it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def script(folder: Path, name: str, lines: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def print_file(folder: Path, text: str) -> str:
    path = folder.parent / f"answer-{len(list(folder.parent.iterdir()))}"
    path.write_text(text)
    return f"/bin/cat {path}"


def scontrol(folder: Path) -> None:
    script(
        folder,
        "scontrol",
        f"""
        case "$*" in
            *partition*) {print_file(folder, PARTITIONS)};;
            *node*) {print_file(folder, NODES)};;
            *config*) {print_file(folder, SETTINGS)};;
        esac""",
    )


def test_a_machine_without_slurm(commands):
    with pytest.raises(SlurmNotFoundError, match="there is no scontrol or sinfo on this"):
        slurm_limits()


def test_a_command_that_is_not_there(commands):
    scontrol(commands)
    limits = slurm_limits()
    assert limits.unknown == ("qos", "accounts")
    assert [partition.name for partition in limits.partitions] == ["cpu", "gpu", "empty"]
    assert limits.unanswered == {
        f"sacctmgr show {what}": "there is no sacctmgr on this machine's PATH"
        for what in ("qos", "user")
    }


def test_a_command_that_hangs_is_ended_with_what_it_began(commands):
    scontrol(commands)
    pids = commands.parent / "pids"
    script(commands, "sacctmgr", f"/bin/sleep 600 & echo $! >> {pids}; wait")
    limits = slurm_limits(timeout_s=1)
    assert limits.unknown == ("qos", "accounts")
    assert "sacctmgr gave no answer within" in limits.unanswered["sacctmgr show qos"]
    for pid in map(int, pids.read_text().split()):
        poll(lambda pid=pid: not is_running(pid), "what it began to end", 30)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_command_that_fails_says_why(commands):
    scontrol(commands)
    script(commands, "sacctmgr", "echo half an answer; echo 'slurmdbd: no' >&2; exit 1")
    limits = slurm_limits()
    assert limits.unknown == ("qos", "accounts")
    assert limits.unanswered["sacctmgr show user"] == "slurmdbd: no"


def test_a_command_that_fails_without_a_word(commands):
    scontrol(commands)
    script(commands, "sacctmgr", "echo >&2; exit 1")
    assert slurm_limits().unanswered["sacctmgr show user"] == "it failed without a message"


def test_a_user_without_an_account_is_an_answer_and_no_qos_is_none(commands):
    scontrol(commands)
    script(commands, "sacctmgr", "exit 0")
    limits = slurm_limits()
    assert limits.knows("accounts")
    assert limits.accounts == ()
    assert limits.unanswered == {"sacctmgr show qos": "it printed nothing"}


def test_a_command_that_can_not_be_run(commands):
    scontrol(commands)
    (commands / "sacctmgr").write_bytes(b"\x7fELF no program")
    (commands / "sacctmgr").chmod(0o755)
    why = slurm_limits().unanswered["sacctmgr show qos"]
    assert why == "sacctmgr can't be run: Exec format error"


def test_commands_speak_english_and_see_no_terminal(commands):
    scontrol(commands)
    script(commands, "sacctmgr", 'read line; echo "lang $LC_ALL, read $line" >&2; exit 1')
    assert slurm_limits().unanswered["sacctmgr show qos"] == "lang C, read"


@pytest.mark.parametrize("scontrol_is", ["not there", "broken", "mute"])
def test_sinfo_stands_in_for_scontrol(commands, scontrol_is):
    script(commands, "sinfo", print_file(commands, SINFO))
    if scontrol_is != "not there":
        script(commands, "scontrol", "exit 1" if scontrol_is == "broken" else "echo hello")
    limits = slurm_limits()
    assert [partition.name for partition in limits.partitions] == ["cpu", "gpu"]
    assert limits.partitions[0].n_nodes == 3


def test_after_a_scontrol_that_hangs_there_is_no_time_for_sinfo(commands):
    script(commands, "sinfo", print_file(commands, SINFO))
    script(commands, "scontrol", "exec /bin/sleep 600")
    limits = slurm_limits(timeout_s=0.5)
    assert not limits.knows("partitions")
    assert limits.unanswered["sinfo"] == "there was no time left for it"


# On the real Slurm.

ASKED = Request(time_s=300, memory_mb=500, cpus=1)


@pytest.mark.slurm
def test_the_real_slurm(slurm):
    limits = slurm_limits()
    assert (limits.unknown, limits.unanswered) == ((), {})
    assert (limits.cluster, limits.user) == ("testbed", "root")
    main, tiny = limits.partitions
    assert (main.is_default, main.max_time_s, main.default_time_s) == (True, 14_400, 1800)
    assert (main.n_nodes, main.cpus, main.memory_mb) == (4, (8, 8), (16_000, 16_000))
    assert (tiny.max_memory_per_node_mb, tiny.max_time_s, tiny.n_nodes) == (1000, 600, 1)
    tight = limits.qos_named("tight")
    assert (tight.max_time_s, tight.max_jobs, tight.max_submit_jobs) == (600, 2, 4)
    science = next(one for one in limits.accounts if one.is_default)
    assert (science.account, science.default_qos) == ("science", "short")
    assert science.qos == ("short", "tight", "urgent")


@pytest.mark.slurm
@pytest.mark.parametrize(
    "what",
    [
        {},
        {"partition": "tiny", "account": "science", "qos": "tight"},
        {"qos": "urgent"},
        {"partition": "main,tiny"},
        {"time_s": 14_400},
        {"cpus": 8, "memory_mb": 16_000},
        {"partition": "nope"},
        {"partition": "main,nope"},
        {"account": "nope"},
        {"qos": "locked"},
        {"qos": "nope"},
        {"time_s": 14_460},
        {"partition": "main,tiny", "time_s": 1200},
        {"qos": "tight", "time_s": 1200},
        {"cpus": 9},
        {"memory_mb": 16_001},
        {"partition": "tiny", "memory_mb": 1001},
        {"constraint": "gpu"},
    ],
    ids=str,
)
def test_the_check_agrees_with_slurm(slurm, what):
    request = attrs.evolve(ASKED, **what)
    found = problems(request, slurm_limits())
    assert all(problem.fatal for problem in found)
    assert bool(found) is not accepted(request)


@pytest.mark.slurm
@pytest.mark.parametrize("state", ["down", "drain", "inactive"])
def test_of_a_partition_that_is_not_up(slurm, state):
    request = attrs.evolve(ASKED, partition="tiny")
    slurm.call("scontrol", "update", "partition=tiny", f"state={state}")
    try:
        (problem,) = problems(request, slurm_limits())
        assert problem.fatal is not accepted(request)
    finally:
        slurm.call("scontrol", "update", "partition=tiny", "state=up")


@pytest.mark.slurm
def test_a_node_that_is_drained_is_not_usable(slurm):
    slurm.call("scontrol", "update", "node=n1", "state=drain", "reason=a test State=IDLE")
    try:
        main, tiny = slurm_limits().partitions
    finally:
        slurm.call("scontrol", "update", "node=n1", "state=resume")
    poll(lambda: slurm_limits().partition("tiny").n_usable == 1, "the node to be back", 60)
    assert (main.n_nodes, main.n_usable, tiny.n_usable) == (4, 3, 0)


def accepted(request: Request) -> bool:
    """Ask Slurm itself."""
    named = {
        "--partition": request.partition,
        "--account": request.account,
        "--qos": request.qos,
        "--constraint": request.constraint,
        "--time": time_text(request.time_s),
        "--mem": f"{request.memory_mb}M",
        "--cpus-per-task": request.cpus,
    }
    options = [f"{flag}={value}" for flag, value in named.items() if value is not None]
    done = subprocess.run(
        ["sbatch", "--test-only", *options],
        input="#!/bin/sh\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def test_the_records_are_plain_data():
    assert isinstance(limits_in({}), SlurmLimits)
    assert attrs.asdict(limits_in({"partitions": PARTITIONS}))["partitions"][0]["name"] == "cpu"

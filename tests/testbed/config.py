"""The texts of the configuration files of a throw-away Slurm cluster.

Everything here is a pure function of a folder and six ports, so what the
daemons of :mod:`tests.testbed.testbed` are told can be read in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLUSTER = "testbed"
ACCOUNT = "science"
NODES = ("n1", "n2", "n3", "n4")
CPUS_PER_NODE = 8
MEMORY_PER_NODE_MB = 16000
KILL_WAIT_SECONDS = 5


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one testbed, all of them on 127.0.0.1.

    Attributes
    ----------
    controller, database : int
        Where slurmctld and slurmdbd listen.
    nodes : tuple of int
        Where the slurmd of each node of `NODES` listens.
    """

    controller: int
    database: int
    nodes: tuple[int, ...]

    @classmethod
    def of(cls, ports: list[int]) -> Ports:
        """Deal out a list of ``len(NODES) + 2`` free ports."""
        controller, database, *nodes = ports
        return cls(controller, database, tuple(nodes))


def munge_socket(folder: Path) -> Path:
    """Where the testbed's own munged listens."""
    return folder / "munge.sock"


def database_socket(folder: Path) -> Path:
    """Where the testbed's own mariadbd listens (it has no TCP port)."""
    return folder / "db.sock"


MACHINE = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
UnkillableStepTimeout=20
CompleteWait=0
MessageTimeout=20
TCPTimeout=5
MailProg=/bin/true
JobRequeue=1
"""
"""What a node is and does: no cgroups, and more CPUs than the machine has."""

SCHEDULING = """\
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
EnforcePartLimits=ALL
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,\
batch_sched_delay=0,bf_continue
PriorityType=priority/multifactor
PriorityWeightQOS=10000
PreemptType=preempt/qos
PreemptMode=CANCEL
"""
"""How jobs are placed, ordered, preempted; intervals are as short as they go."""


def slurm_conf(folder: Path, ports: Ports, hostname: str, *, loopback_only: bool) -> str:
    """Text of ``slurm.conf``.

    ``SlurmdParameters=config_overrides`` lets each node claim more CPUs and
    memory than the machine has; the scheduler intervals are as short as they
    go, so that a test's job starts within a second or two.

    With `loopback_only` slurmctld and slurmd listen on the address that the
    machine's name resolves to, which must be 127.0.0.1; otherwise on all
    addresses, as slurmdbd always does. They heed only what carries a
    credential made with the testbed's own munge key.
    """
    where = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" if loopback_only else ""
    nodes = ",".join(NODES)
    hosts = ",".join([hostname] * len(NODES))
    addresses = ",".join(["127.0.0.1"] * len(NODES))
    node_ports = ",".join(str(port) for port in ports.nodes)
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports.controller}
SlurmUser=root
SlurmdUser=root
{where}
AuthType=auth/munge
AuthInfo=socket={munge_socket(folder)}
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
KillWait={KILL_WAIT_SECONDS}
{MACHINE}
{SCHEDULING}
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.database}
AccountingStoragePass={munge_socket(folder)}
AccountingStorageEnforce=associations,limits,qos
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2

NodeName={nodes} NodeHostname={hosts} NodeAddr={addresses} Port={node_ports} \
CPUs={CPUS_PER_NODE} RealMemory={MEMORY_PER_NODE_MB} State=UNKNOWN
PartitionName=main Nodes={nodes} Default=YES MaxTime=04:00:00 DefaultTime=00:30:00 State=UP
PartitionName=tiny Nodes={NODES[0]} MaxTime=00:10:00 DefaultTime=00:05:00 MaxNodes=1 \
MaxMemPerNode=1000 State=UP
"""


def slurmdbd_conf(folder: Path, ports: Ports) -> str:
    """Text of ``slurmdbd.conf``; the file must be readable by its owner only."""
    return f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports.database}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={munge_socket(folder)}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""


CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"

ACCOUNTING = (
    ("add", "cluster", CLUSTER),
    ("add", "account", ACCOUNT, f"cluster={CLUSTER}"),
    ("add", "qos", "short"),
    (
        "add",
        "qos",
        "tight",
        "set",
        "MaxSubmitJobsPerUser=4",
        "MaxJobsPerUser=2",
        "MaxWall=00:10:00",
        "Flags=DenyOnLimit",
    ),
    ("add", "qos", "locked"),
    ("add", "qos", "urgent", "set", "Preempt=short", "Priority=100"),
    ("add", "user", "root", f"account={ACCOUNT}"),
    ("modify", "user", "root", "set", f"DefaultAccount={ACCOUNT}"),
    ("modify", "user", "root", "set", "QOS=short,tight,urgent", "DefaultQOS=short"),
)
"""Arguments of ``sacctmgr -i``, run in this order before slurmctld starts."""

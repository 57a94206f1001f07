"""Why a job waits: the words for what squeue prints, by itself and on the real Slurm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from seedwise.slurm.reasons import Reason, explain
from tests.testbed.daemons import poll
from tests.testbed.testbed import Testbed

WHATS = ("BB", "Billing", "Cpu", "Energy", "GRES", "License", "Mem", "Memory", "Node", "Unknown")

ACCOUNT = "another SlurmOptions(account=...)"
SHARED = "for all who share it"

NEVER = [
    *(f"{who}Max{what}PerJob" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"{who}Max{what}PerNode" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"{who}Max{what}MinutesPerJob" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"QOSMin{what}" for what in WHATS),
    "QOSMinCpuNotSatisfied",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxNodePerJobLimit",
    "AssocMaxCpuPerJobLimit",
    "AssocMaxCpuMinutesPerJobLimit",
    "QOSMaxWallDurationPerJobLimit",
    "AssocMaxWallDurationPerJobLimit",
    "PartitionTimeLimit",
    "MaxMemPerLimit",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "JobHeldUser",
    "JobHeldAdmin",
    "JobHoldMaxRequeue",
    "launch failed requeued held",
    "launch_failed_requeued_held",
    "job requeued in held state",
    "job requeued in special exit state",
    "user env retrieval failed requeued held",
    "DependencyNeverSatisfied",
    "ReservationDeleted",
    "ReservationInvalid",
    "DeadLine",
]

CLEARS = [
    *(f"{who}Grp{what}" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"{who}Grp{what}Minutes" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"{who}Grp{what}RunMinutes" for who in ("QOS", "Assoc") for what in WHATS),
    *(f"QOSMax{what}PerUser" for what in WHATS),
    *(f"Max{what}PerAccount" for what in WHATS),
    *(f"Max{what}RunMinsPerUser" for what in WHATS),
    *(f"Max{what}RunMinsPerAccount" for what in WHATS),
    *("QOSGrpCpuLimit", "QOSGrpMemLimit", "QOSGrpNodeLimit", "QOSGrpWallLimit"),
    *("AssocGrpCpuLimit", "AssocGrpMemLimit", "AssocGrpNodeLimit", "AssocGrpWallLimit"),
    *("AssocGrpCPUMinutesLimit", "AssocGrpCPURunMinutesLimit", "AssocGrpJobsLimit"),
    *("QOSGrpCPUMinutesLimit", "QOSGrpCPURunMinutesLimit", "QOSGrpJobsLimit"),
    *("QOSMaxCpuPerUserLimit", "QOSMaxNodePerUserLimit", "QOSMaxJobsPerUserLimit"),
    *("QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit", "AssocMaxJobsLimit"),
    *("QOSGrpSubmitJobsLimit", "AssocGrpSubmitJobsLimit", "MaxSubmitJobsPerAccount"),
    *("MaxJobsPerAccount", "QOSJobLimit", "QOSResourceLimit", "QOSTimeLimit"),
    *("AssociationJobLimit", "AssociationResourceLimit", "AssociationTimeLimit"),
    *("AccountingPolicy", "QOSUsageThreshold", "PartitionConfig", "Constraints"),
    *("None", "Priority", "Resources", "BeginTime", "Licenses", "Dependency", "Reservation"),
    *("Cleaning", "Prolog", "NodeDown", "FrontEndDown", "PartitionDown", "PartitionInactive"),
    *("FedJobLock", "JobArrayTaskLimit", "BurstBufferResources", "BurstBufferStageIn"),
    *(
        "BurstBufferOperation",
        "MaxPoweredUpNodes",
        "SystemFailure",
        "PartitionNodeLimit",
        "ReqNodeNotAvail",
    ),
    "ReqNodeNotAvail, UnavailableNodes:n[1-4]",
    "ReqNodeNotAvail(Unavailable:n[1-4])",
    "ReqNodeNotAvail, Reserved for maintenance",
    "ReqNodeNotAvail, May be reserved for other job",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
]


def known(text: str) -> Reason:
    reason = explain(text)
    assert "Slurm gives the reason" not in reason.words
    assert "{" not in reason.words + reason.advice
    assert reason.words
    assert not reason.words.endswith(".")
    return reason


@pytest.mark.parametrize("text", NEVER)
def test_what_waiting_does_not_mend_never_clears_and_says_what_to_do(text: str) -> None:
    reason = known(text)
    assert reason.never_clears
    assert reason.advice


@pytest.mark.parametrize("text", CLEARS)
def test_what_ends_by_itself_clears(text: str) -> None:
    assert not known(text).never_clears


@pytest.mark.parametrize(
    ("text", "words", "advice"),
    [
        ("Priority", "other jobs have a higher priority", ""),
        ("None", "Slurm has not looked at it yet", ""),
        ("", "Slurm has not looked at it yet", ""),
        (
            "PartitionTimeLimit",
            "its worker_time_limit is longer than its partition allows",
            "choose a shorter worker_time_limit or another SlurmOptions(partition=...)",
        ),
        (
            "QOSMaxWallDurationPerJobLimit",
            "its worker_time_limit is longer than its QoS allows a job",
            "choose a shorter worker_time_limit or another slurm_qos",
        ),
        (
            "AssocMaxMemPerJob",
            "it asks for more memory than your account allows a job",
            "choose a smaller mem_per_cpu or another SlurmOptions(account=...)",
        ),
        (
            "QOSMaxCpuPerUserLimit",
            "your jobs hold all the CPUs that its QoS allows a user",
            "choose fewer workers, a smaller cpus_per_task or another slurm_qos",
        ),
        (
            "AssocGrpCPUMinutesLimit",
            f"the time that your account may compute is used up, {SHARED}",
            f"choose {ACCOUNT}, or ask the administrators for more time or when it is reset",
        ),
        (
            "AssocGrpUnknown",
            f"running jobs hold all the resources of some kind that your account allows, {SHARED}",
            f"choose fewer workers, a smaller cpus_per_task, a smaller mem_per_cpu or {ACCOUNT}",
        ),
        (
            "JobHeldAdmin",
            "it is held by an administrator",
            "ask the administrators: only they can release it",
        ),
        (
            "JobHeldUser",
            "it is held by you or by a coordinator of your account",
            "find out who holds your jobs, and release them with 'scontrol release'",
        ),
    ],
)
def test_words_and_advice(text: str, words: str, advice: str) -> None:
    reason = explain(text)
    assert (reason.words, reason.advice) == (words, advice)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Priority", "Priority"),
        ("  Resources\n", "Resources"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "ReqNodeNotAvail"),
        ("ReqNodeNotAvail,_UnavailableNodes:n[1-4]", "ReqNodeNotAvail"),
        ("Licenses: matlab", "Licenses"),
        ("", "None"),
    ],
)
def test_code_is_bare(text: str, code: str) -> None:
    assert explain(text).code == code


@pytest.mark.parametrize(
    "text", ["ReqNodeNotAvail, UnavailableNodes:n[1-4]", "ReqNodeNotAvail(Unavailable:n[1-4])"]
)
def test_nodes_that_are_not_available_are_named(text: str) -> None:
    assert explain(text).words == "nodes it asks for are down, drained or reserved (n[1-4])"


@pytest.mark.parametrize("text", ["MoonPhase", "Reason {of} 3 words", "QOSMax", "Ünïcode"])
def test_an_unknown_reason_is_quoted_and_may_clear(text: str) -> None:
    assert explain(text) == Reason(code=text, words=f"Slurm gives the reason {text!r}")


# -- what squeue really prints ------------------------------------------------------------------

Submit = Callable[..., str]


@pytest.fixture
def submit(slurm: Testbed) -> Iterator[Submit]:
    """Submit a job that sleeps, cancelled in the end."""
    jobs: list[str] = []

    def submit(*options: str) -> str:
        arguments = ("--parsable", "--output=/dev/null", *options, "--wrap=sleep 300")
        jobs.append(slurm.run("sbatch", *arguments).strip())
        return jobs[-1]

    yield submit
    if jobs:
        slurm.run("scancel", *jobs)


def reason_of(slurm: Testbed, job: str, code: str) -> Reason:
    """Wait until Slurm gives a job the reason of a code, and explain it."""

    def given() -> Reason | None:
        reason = known(slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%r"))
        return reason if reason.code == code else None

    return poll(given, f"job {job} to wait for {code}", 20)  # type: ignore[return-value]


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("options", "code", "never"),
    [
        (["--hold"], "JobHeldUser", True),
        (["--begin=now+1hour"], "BeginTime", False),
    ],
)
def test_options_that_make_a_job_wait(
    slurm: Testbed, submit: Submit, options: list[str], code: str, never: bool
) -> None:
    assert reason_of(slurm, submit(*options), code).never_clears is never


@pytest.mark.slurm
def test_a_hold_of_an_administrator(slurm: Testbed, submit: Submit) -> None:
    job = submit("--begin=now+1hour")
    slurm.run("scontrol", "hold", job)  # by root, who is one
    assert "administrator" in reason_of(slurm, job, "JobHeldAdmin").words


@pytest.mark.slurm
def test_a_limit_of_a_qos(slurm: Testbed, submit: Submit) -> None:
    jobs = [submit("--qos=tight", "--time=5") for _ in range(3)]
    reason = reason_of(slurm, jobs[2], "QOSMaxJobsPerUserLimit")
    assert reason.words == "its QoS allows no more jobs to run at once"
    assert not reason.never_clears


@pytest.mark.slurm
def test_a_full_node(slurm: Testbed, submit: Submit) -> None:
    whole_node = ("--nodelist=n2", "--exclusive", "--mem=0")
    jobs = [submit(*whole_node) for _ in range(2)]
    assert reason_of(slurm, jobs[1], "Resources").words.endswith("in use by other jobs")


@pytest.mark.slurm
def test_dependencies(slurm: Testbed, submit: Submit) -> None:
    first = submit("--hold")
    second = submit(f"--dependency=afterok:{first}")
    assert not reason_of(slurm, second, "Dependency").never_clears
    slurm.run("scancel", first)
    assert reason_of(slurm, second, "DependencyNeverSatisfied").never_clears


@pytest.mark.slurm
def test_a_drained_node(slurm: Testbed, submit: Submit) -> None:
    slurm.run("scontrol", "update", "nodename=n4", "state=drain", "reason=test")
    try:
        reason = reason_of(slurm, submit("--nodelist=n4"), "ReqNodeNotAvail")
        sentence = reason_of(slurm, submit("--nodes=4"), "Resources")
    finally:
        slurm.run("scontrol", "update", "nodename=n4", "state=resume")
    assert reason.words == "nodes it asks for are down, drained or reserved (n4)"
    assert not reason.never_clears
    assert sentence.words.startswith("the nodes it could run on are down")


@pytest.mark.slurm
def test_a_partition_that_is_down(slurm: Testbed, submit: Submit) -> None:
    slurm.run("scontrol", "update", "partitionname=tiny", "state=down")
    try:
        reason = reason_of(slurm, submit("--partition=tiny", "--time=5"), "PartitionDown")
    finally:
        slurm.run("scontrol", "update", "partitionname=tiny", "state=up")
    assert "SlurmOptions(partition=...)" in reason.advice


@pytest.mark.slurm
def test_more_memory_than_the_partition_allows(slurm: Testbed, submit: Submit) -> None:
    job = submit("--hold", "--partition=tiny", "--time=5", "--mem=500")
    # Both say that it can't be had, and do it.
    slurm.call("scontrol", "update", f"jobid={job}", "MinMemoryNode=8000")
    slurm.call("scontrol", "release", job)
    reason = reason_of(slurm, job, "MaxMemPerLimit")
    assert reason.never_clears
    assert "mem_per_cpu" in reason.advice

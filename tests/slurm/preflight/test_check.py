"""What is refused before the first job: by the real Slurm, and by odd commands before it."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import attrs
import dask
import pytest

import seedwise as sw
from seedwise.model.options.study import RunOptions
from seedwise.slurm.commands import CommandError
from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)
from seedwise.slurm.preflight import check as preflight
from seedwise.slurm.preflight.check import check_jobs, plan_problems, request_in
from tests.losses import bowl
from tests.testbed.config import NODES
from tests.testbed.daemons import poll


def test_a_request_is_read_from_the_script():
    script = (
        "#!/bin/sh\n#SBATCH -J a\n#SBATCH -p cpu,long\n#SBATCH --account lab\n#SBATCH -n 1\n"
        "#SBATCH --cpus-per-task=4\n#SBATCH --mem=8G\n#SBATCH -t 0-02:00:00\n#SBATCH --qos=short\n"
        '#SBATCH -o "/a b/%J.out"\n#SBATCH -C fast --time=1-0\n#SBATCH --no-requeue\n'
        "#SBATCH --gres=gpu:1\nexec -p other\n"
    )
    request = request_in(script, 7)
    assert (request.partition, request.account, request.qos) == ("cpu,long", "lab", "short")
    assert (request.time_s, request.memory_mb, request.cpus) == (86_400, 8192, 4)
    assert (request.constraint, request.n_jobs) == ("fast", 7)


def test_what_a_script_leaves_open_may_be_set_for_all_jobs(monkeypatch):
    values = {"PARTITION": "cpu", "ACCOUNT": "lab", "QOS": "short", "CONSTRAINT": "fast"}
    for name, value in values.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    request = request_in("#!/bin/sh\n#SBATCH -p long\n#SBATCH -t 5\n", 1)
    assert (request.partition, request.account, request.qos) == ("long", "lab", "short")
    assert (request.constraint, request.time_s) == ("fast", 300)


@pytest.mark.parametrize(
    ("lines", "mb"),
    [
        (["--mem=2G"], 2048),
        (["--mem-per-cpu=100M", "-c 4"], 400),
        (["--mem=2G", "--mem-per-cpu=100", "-c 4"], 400),
        (["--mem-per-cpu=100M", "--mem=2G"], 2048),
        (["--mem=2G", "--mem-per-gpu=1G"], 0),
        ([], 0),
    ],
)
def test_the_memory_that_is_asked_for(lines, mb):
    assert request_in("".join(f"#SBATCH {line}\n" for line in lines), 1).memory_mb == mb


def test_lines_after_the_first_command_count_for_nothing():
    assert request_in("#SBATCH -t 5\n\necho\n#SBATCH -t 9\n", 1).time_s == 300


@pytest.mark.parametrize(
    ("keywords", "asked"),
    [({}, []), ({"slurm_qos": "tight"}, ["--qos=tight"]), ({"slurm_qos": None}, [])],
)
def test_a_qos_that_is_set_for_all_jobs_goes_before_the_default(monkeypatch, keywords, asked):
    monkeypatch.setenv("SBATCH_QOS", "urgent")
    monkeypatch.setattr(preflight, "test_submit", lambda _: None)
    monkeypatch.setattr(preflight, "slurm_limits", lambda timeout_s: SlurmLimits(user="me"))
    options = RunOptions.from_keywords(keywords)
    checked = check_jobs(options, {"job_extra_directives": []}, lambda _: "#!/bin/sh\n", 1, print)
    assert checked["job_extra_directives"] == asked


# What Slurm says of a job, and what follows from it.

NODE = NodeKind(n_nodes=2, n_usable=0, n_idle=0, cpus=8, memory_mb=16_000, features=("a100",))
HERE = SlurmLimits(
    user="me",
    partitions=(PartitionLimits(name="main", is_default=True, node_kinds=(NODE,)),),
    qos=(QosLimits(name="short", max_time_s=3600), QosLimits(name="long")),
    accounts=(
        AccountLimits(account="lab", is_default=True, default_qos="long", qos=("short", "long")),
    ),
    enforce=("associations", "limits", "qos"),
)
DRAINED = "allocation failure: Requested node configuration is not available"


@pytest.fixture
def judge(monkeypatch):
    """Check a job on a cluster that says such things of scripts; return its directives."""

    def judge(says, *lines, limits=HERE, **keywords):
        monkeypatch.setattr(preflight, "test_submit", says)
        monkeypatch.setattr(preflight, "slurm_limits", lambda timeout_s: limits)

        def script(keywords):
            text = [f"#SBATCH {line}" for line in keywords["job_extra_directives"]]
            return "\n".join(["#!/bin/sh", "#SBATCH -t 120", *text, ""])

        options = RunOptions.from_keywords(keywords)
        return check_jobs(options, {"job_extra_directives": list(lines)}, script, 4, print)[
            "job_extra_directives"
        ]

    return judge


def accepts(_):
    return None


def test_nodes_that_are_down_now_are_waited_for(judge, capsys):
    found = judge(lambda _: CommandError(DRAINED), "--constraint=a100", slurm_qos="long")
    assert re.search("(?s)has to wait: .*all down or drained now", capsys.readouterr().out)
    assert found == ["--qos=long", "--constraint=a100"]


def test_nodes_that_there_are_none_of_are_not(judge):
    with pytest.raises(sw.SubmitRefusedError, match="have the features a100"):
        judge(lambda _: CommandError(DRAINED), "--constraint=h100", slurm_qos="long")


def test_of_an_expression_slurm_is_to_say_it(judge, capsys):
    """Whether nodes with both are down, or there are none, is not known before."""
    judge(lambda _: CommandError(DRAINED), "--constraint=a100&ib", slurm_qos="long")
    assert "has to wait" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "asks"),
    [([], False), (["--qos=a"], True), (["-q a"], True), (["--gres=gpu:1"], False)],
)
def test_a_qos_of_the_users_own(judge, lines, asks):
    added = [] if asks else ["--qos=long"]
    assert judge(accepts, *lines, slurm_qos="long", limits=SlurmLimits()) == [*added, *lines]


def test_a_qos_that_nobody_asked_for_refuses_no_run(judge, capsys):
    assert judge(accepts) == []
    assert re.search("could never start it .*short allows at most 1 h", capsys.readouterr().out)
    with pytest.raises(sw.PreflightError, match="QoS short allows at most 1 h"):
        judge(accepts, slurm_qos="short")


def test_a_qos_that_is_refused_is_left_out(judge, capsys):
    def says(script):
        return CommandError("Invalid qos specification") if "--qos" in script else None

    assert judge(says, slurm_qos="long") == []
    assert "with it Slurm says: Invalid qos specification" in capsys.readouterr().out


def test_what_is_refused_with_and_without_a_qos(judge):
    with pytest.raises(sw.SubmitRefusedError, match="Job violates"):
        judge(lambda _: CommandError("Job violates accounting/QOS policy"))


def test_a_job_that_the_sites_rules_may_have_changed(judge):
    limits = attrs.evolve(HERE, submit_plugins=("lua",))
    big = "--cpus-per-task=99"
    assert judge(accepts, big, limits=limits, slurm_qos="long") == ["--qos=long", big]
    with pytest.raises(sw.PreflightError, match="the largest node of partition main has 8"):
        judge(accepts, big, slurm_qos="long")


@pytest.mark.parametrize("line", ["--clusters=b", "-M b", "--cluster b"])
def test_another_cluster_is_for_all_commands_or_for_none(judge, line):
    with pytest.raises(sw.OptionError, match="SLURM_CLUSTERS"):
        judge(accepts, line)


def test_what_is_to_be_said_of_many_jobs(monkeypatch):
    alone = attrs.evolve(HERE.partitions[0], is_exclusive=True)
    limits = attrs.evolve(HERE, partitions=(alone,))
    monkeypatch.setattr(preflight, "slurm_limits", lambda timeout_s: limits)
    found, cpus = plan_problems("#!/bin/sh\n#SBATCH --cpus-per-task=2\n", 3)
    assert cpus == 8
    assert any("each job has a node to itself" in words for words in found)
    with pytest.raises(sw.PreflightError, match="the largest node"):
        plan_problems("#!/bin/sh\n#SBATCH --cpus-per-task=9\n", 3)
    assert plan_problems("#!/bin/sh\n#SBATCH --cpus-per-task=many\n", 3) == ([], None)


def test_where_slurm_can_not_be_asked_its_limits_are_not_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert plan_problems("#!/bin/sh\n#SBATCH --cpus-per-task=2\n", 3) == ([], 2)


@pytest.mark.parametrize("line", ["--time=soon", "-c many", "--mem=much", '--comment="open', "-p"])
def test_a_request_that_cant_be_read(line):
    with pytest.raises(ValueError, match=r".+"):
        request_in(f"#SBATCH {line}\n", 1)


def small(root, **options):
    options = {
        "n_trials": 2,
        "n_seeds": 4,
        "workers": 1,
        "slurm_poll_seconds": 1,
        "progress": False,
        **options,
    }
    options.setdefault("slurm", sw.SlurmOptions(interface="lo"))
    return sw.optimize_run(bowl, cluster="slurm", run_root=root, **options)


def site(**options):
    return {"slurm": sw.SlurmOptions(interface="lo", **options)}


@pytest.mark.slurm
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"worker_time_limit": timedelta(hours=5)},
            sw.SubmitRefusedError,
            "worker_time_limit: 5 h asked for, but partition main allows at most 4 h",
        ),
        (
            {"mem_per_cpu": "900G"},
            sw.SubmitRefusedError,
            r"mem_per_cpu: 921600 MB asked for, but .*16000 MB",
        ),
        (
            site(partition="nosuch"),
            sw.SubmitRefusedError,
            r"SlurmOptions\(partition=\.\.\.\): nosuch asked for, but .*main",
        ),
        (
            site(account="nosuch"),
            sw.SubmitRefusedError,
            r"SlurmOptions\(account=\.\.\.\): nosuch asked for, but .*science",
        ),
        (
            {"slurm_qos": None, **site(extra_directives=["--qos=locked"])},
            sw.SubmitRefusedError,
            "slurm_qos: locked asked for, but .*short",
        ),
        (site(extra_directives=["--constraint=quantum"]), sw.SubmitRefusedError, "quantum"),
        (
            site(extra_directives=["--gres=gpu:1"]),
            sw.SubmitRefusedError,
            r"generic resources or GPUs: change SlurmOptions\(extra_directives=\.\.\.\)",
        ),
        (site(extra_directives=["--foo"]), sw.SubmitRefusedError, "change .*extra_directives"),
        (
            {"slurm": sw.SlurmOptions(interface="nope0")},
            sw.OptionError,
            "interface='nope0': must be one of this machine's: lo",
        ),
    ],
    ids=[
        "time",
        "memory",
        "partition",
        "account",
        "QoS",
        "constraint",
        "gres",
        "option",
        "interface",
    ],
)
def test_a_bad_request_is_said_in_words_and_leaves_no_job(slurm, tmp_path, options, error, words):
    """The reason, with the option to change, is the last line."""
    before = slurm.jobs()
    with pytest.raises(error, match=rf".*{words}[^\n]*\Z") as caught:
        small(tmp_path, **options)
    assert slurm.jobs() == before
    kept = list(tmp_path.iterdir())
    if error is sw.SubmitRefusedError:
        assert [caught.value.script_path] == kept == [tmp_path / "refused_job.sh"]
        assert f"The job script is {kept[0]};" in str(caught.value)
        assert "#SBATCH -J bowl_v0001\n" in kept[0].read_text()
        assert "BEGIN CERT" not in kept[0].read_text() + str(caught.value)
    else:
        assert kept == []


def test_no_sbatch(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sw.SlurmNotFoundError, match="there is no sbatch on this machine's PATH"):
        small(tmp_path / "runs")


@pytest.fixture
def put_before(tmp_path, monkeypatch):
    """Put a command of one's own before a real one, which it may call as {real}."""

    def put(name: str, body: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        command = folder / name
        command.write_text(f"#!/bin/sh\n{body.replace('{real}', shutil.which(name))}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


@pytest.mark.slurm
@pytest.mark.timeout(180)
def test_an_sbatch_that_hangs(slurm, tmp_path, put_before):
    put_before("sbatch", "sleep 1000 & wait")
    with pytest.raises(sw.ClusterStartError, match="sbatch gave no answer within 8 s"):
        small(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slurm
def test_an_sbatch_that_prints_a_banner_and_no_id(slurm, tmp_path, put_before):
    put_before("sbatch", 'echo "Welcome to the cluster. It has 12 nodes."')
    before = slurm.jobs()
    with pytest.raises(sw.SubmitRefusedError, match="sbatch printed no job id"):
        small(tmp_path / "runs")
    assert slurm.jobs() == before


@pytest.mark.slurm
def test_an_sbatch_that_prints_a_banner_around_the_id(slurm, tmp_path, put_before):
    put_before("sbatch", 'echo "Welcome, 12 nodes."; {real} "$@"; echo; echo "Have a good day"')
    assert small(tmp_path / "runs").n_trials == 2


@pytest.mark.slurm
def test_an_sbatch_that_keeps_the_id_to_itself(slurm, tmp_path, put_before):
    """There is a job all the same, and it is found by its comment."""
    put_before("sbatch", '{real} "$@" >/dev/null; echo "Your job is on its way"')
    assert small(tmp_path / "runs").n_trials == 2


@pytest.mark.slurm
def test_a_refusal_after_the_check(slurm, tmp_path, put_before):
    """A limit that is reached between the check and the job."""
    put_before(
        "sbatch",
        'case "$1" in --test-only) exec {real} "$@";; esac\n'
        'echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1',
    )
    with pytest.raises(sw.SubmitRefusedError, match="QOSMaxSubmitJobPerUserLimit") as caught:
        small(tmp_path / "runs")
    assert caught.value.script_path == tmp_path / "runs/refused_job.sh"
    assert "dask_worker" in caught.value.script_path.read_text()


@pytest.mark.slurm
def test_a_site_that_takes_no_mem(slurm, tmp_path, put_before):
    """Its wrapper even shows the script; what the error says to do makes the run work."""
    put_before(
        "sbatch",
        'cat > "$0.in"; if grep -q -e "--mem=" "$0.in"; then\n'
        'echo "error: --mem is not allowed here" >&2; cat "$0.in" >&2; exit 1; fi\n'
        'exec {real} "$@" < "$0.in"',
    )
    with pytest.raises(sw.SubmitRefusedError) as caught:
        small(tmp_path / "runs")
    assert "BEGIN CERT" not in str(caught.value)
    *_, last = str(caught.value).splitlines()
    assert "jobqueue.slurm.job-directives-skip: ['--mem=']" in last
    assert "SlurmOptions(extra_directives=['--mem-per-cpu=2G'])" in last
    with dask.config.set({"jobqueue.slurm.job-directives-skip": ["--mem="]}):
        assert small(tmp_path / "runs").n_trials == 2


@pytest.mark.slurm
@pytest.mark.timeout(120)
def test_a_run_that_begins_while_all_nodes_are_drained(slurm, tmp_path, capsys):
    before = set(slurm.jobs())

    def set_nodes(state):
        node_list = ["scontrol", "update", f"nodename={','.join(NODES)}"]
        slurm.run(*node_list, f"state={state}", "reason=test")

    def resume_when_a_job_waits():
        try:
            poll(lambda: set(slurm.jobs()) - before, "a job to wait", 60)
        finally:
            set_nodes("resume")

    set_nodes("drain")
    with ThreadPoolExecutor(1) as thread:
        resumed = thread.submit(resume_when_a_job_waits)
        assert small(tmp_path, slurm_qos="short", progress=True).n_trials == 2
        assert re.search("it has to wait: .*not available", capsys.readouterr().err)
        resumed.result()


@pytest.mark.full
@pytest.mark.slurm
@pytest.mark.timeout(120)
def test_jobs_that_fail_at_their_start(slurm, tmp_path):
    before = slurm.jobs()
    broken = site(prologue=["echo the module is not there >&2", "exit 3"])
    with pytest.raises(
        sw.WorkersFailedError, match=r"(?s)jobs in a row.*module is not there"
    ) as caught:
        small(tmp_path, **broken)
    assert len(caught.value.nodes) == 3  # on one of them alone the node may be to blame
    assert caught.value.n_jobs <= 8
    poll(lambda: slurm.jobs() == before, "the last of them to be gone")
    (log, *_) = (tmp_path / "bowl_v0001/slurm").glob("*.err")
    assert log.read_text() == "the module is not there\n"


@pytest.mark.slurm
def test_a_site_of_old_names_and_wishes_of_its_own(slurm, tmp_path, monkeypatch):
    """Without a warning of dask-jobqueue's, of which one would come at the end."""
    site_settings = {
        "env-extra": ["export SITE=1"],
        "scheduler-options": {"dashboard_address": ":0", "interface": "lo"},
    }
    monkeypatch.setenv("SBATCH_MEM_PER_NODE", "1M")
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-3")
    monkeypatch.setenv("SBATCH_QOS", "urgent")
    lines = ["--time=00:03:00", "--mem-per-cpu=700M"]
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in site_settings.items()}):
        assert small(tmp_path, **site(extra_directives=lines)).n_trials == 2
    assert "\nexport SITE=1\n" in (tmp_path / "bowl_v0001/slurm/job.sh").read_text()

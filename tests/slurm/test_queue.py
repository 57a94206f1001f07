"""Slurm's commands: what they print, what they refuse, and when nothing is known."""

from __future__ import annotations

import stat

import pytest

from seedwise.slurm import queue as slurm_commands
from seedwise.slurm.commands import CommandError
from seedwise.slurm.queue import (
    JobBook,
    Queue,
    QueuedJob,
    cancel_jobs,
    directive_words,
    list_jobs,
    sbatch_environment,
    scancel,
    submit_job,
)
from tests.testbed.daemons import poll


@pytest.fixture
def prints(monkeypatch):
    """Have the commands print what a test says, instead of running."""

    def say(text):
        monkeypatch.setattr(slurm_commands, "run_command", lambda *_, **__: text)

    return say


@pytest.mark.parametrize(
    ("out", "job_id"),
    [
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ("Submitted batch job 123\n", "123"),
        ("Welcome to node 7!\n\n123\n", "123"),
        ("7\n123\nHave 2 good days\n", "123"),
        ("Your job is on its way\n", None),
        ("", None),
    ],
)
def test_the_id_that_sbatch_prints(prints, out, job_id):
    prints(out)
    assert submit_job("#!/bin/sh") == job_id


def test_the_queue(prints):
    prints(
        "12@@PENDING@@main@@2026-11-21T10:00:00@@ours.1@@"
        "ReqNodeNotAvail, UnavailableNodes:n[1-4]@@seedwise-fit\n"
        "13@@RUNNING@@main,tiny@@2026-11-21T09:00:00@@ours@@None@@renamed @@ by | the site\n"
        "14@@PENDING@@main@@N/A@@theirs@@Priority@@seedwise-fit\n"
        "15@@PENDING@@main@@N/A@@a comment @@ with it@@Priority@@seedwise-fit\n"
        "16@@PENDING@@main@@N/A@@changed by the site@@a@b|c@@seedwise-fit\n"
        "17@@PENDING@@main@@N/A@@changed @@ours@@ with it@@Priority@@seedwise-fit\n"
        "18@@PENDING@@main@@N/A@@(null)@@Priority@@of a Slurm that was set up anew\n"
        "19@@RESV_DEL_HOLD@@main@@N/A@@ours.22@@ReservationDeleted@@seedwise-fit\n"
        "20@@PENDING@@main@@N/A@@ours2@@Priority@@seedwise-fit\n"
        "Welcome to the cluster @@ of us\n"
        "\n"
    )
    assert set(list_jobs("ours", ["16", "17", "18"])) == {"12", "13", "19"}
    assert set(list_jobs("ours.1")) == {"12"}
    found = list_jobs("ours", ["16", "17", "18"], name="seedwise-fit")
    assert found == {
        "12": QueuedJob(
            "12",
            "PENDING",
            "ReqNodeNotAvail, UnavailableNodes:n[1-4]",
            "2026-11-21T10:00:00",
            "main",
        ),
        "13": QueuedJob("13", "RUNNING", "None", "2026-11-21T09:00:00", "main,tiny"),
        "16": QueuedJob("16", "PENDING", "a@b|c", "N/A", "main"),
        "17": QueuedJob("17", "PENDING", "Priority", "N/A", "main"),
        "19": QueuedJob("19", "RESV_DEL_HOLD", "ReservationDeleted", "N/A", "main"),
    }
    assert not found["13"].is_pending
    assert all(found[job_id].is_pending for job_id in ("12", "16", "17", "19"))


@pytest.fixture
def on_path(monkeypatch):
    """Say which commands there are."""

    def say(*names):
        there = "/usr/bin/{}".format
        monkeypatch.setattr(
            slurm_commands.shutil, "which", lambda name: there(name) if name in names else None
        )

    return say


def test_where_there_is_no_slurm_no_jobs_are_left(on_path, monkeypatch):
    monkeypatch.setattr(slurm_commands, "run_command", None)
    on_path()
    assert cancel_jobs("ours", known=["1"], name="seedwise-fit") == []


@pytest.mark.parametrize("there", [("sbatch", "squeue"), ("sbatch",), ("squeue",)])
def test_where_slurm_does_not_answer_nothing_is_known(on_path, monkeypatch, there):
    def unheard(*_, **__):
        raise CommandError("slurm_load_jobs error: Unable to contact slurm controller")

    monkeypatch.setattr(slurm_commands, "run_command", unheard)
    on_path(*there)
    with pytest.raises(CommandError):
        cancel_jobs("ours")
    with pytest.raises(CommandError):
        Queue("#!/bin/sh\n", "ours", "run").exclude(["n1"], ["7"])


def test_jobs_are_cancelled_whose_comment_the_site_has_changed(on_path, monkeypatch):
    asked = []

    def run(*command, timeout_s):
        asked.append((command, timeout_s))
        return (
            "16@@PENDING@@main@@N/A@@changed@@Priority@@seedwise-fit\n"
            "17@@RUNNING@@main@@N/A@@ours@@None@@x\n"
        )

    monkeypatch.setattr(slurm_commands, "run_command", run)
    on_path("squeue")
    assert cancel_jobs("ours", ["16"], "seedwise-fit", 4) == ["16", "17"]
    assert asked[1] == (("scancel", "16", "17"), 4)


def test_the_words_of_a_script():
    script = (
        "#!/bin/sh\n# words\n \n#SBATCH -p cpu --mem=1G # for all\n"
        '#SBATCH -o "/a b/%J"\n##SBATCH -t 1\numask 077\n#SBATCH --time=9\n'
    )
    assert directive_words(script) == ["-p", "cpu", "--mem=1G", "-o", "/a b/%J"]


OF_THE_JOB = ("TIMELIMIT", "JOB_NAME", "OUTPUT", "MEM_PER_CPU", "MEM_PER_NODE", "REQUEUE", "WAIT")


def test_sbatch_is_not_told_what_the_script_says(monkeypatch):
    kept = ["SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_RESERVATION", "SBATCH_GPUS_PER_NODE"]
    dropped = [f"SBATCH_{name}" for name in OF_THE_JOB]
    for name in [*kept, *dropped]:
        monkeypatch.setenv(name, "x")
    names = sbatch_environment("#!/bin/sh\n#SBATCH -J a\n#SBATCH --mem=1G\n").keys()
    assert {*kept, "PATH"} <= names
    assert not set(dropped) & names
    for line, name in zip(
        ["-p cpu", "-Alab", "--reservation=a", "--gpus-per-node 2"], kept, strict=True
    ):
        names = sbatch_environment(f"#!/bin/sh\n#SBATCH {line}\n").keys()
        assert set(kept) - names == {name}
    assert set(kept) <= sbatch_environment('#SBATCH --comment="open\n').keys()


def test_sbatch_is_not_told_of_the_job_that_the_driver_is(monkeypatch):
    of_the_job = [
        *("SLURM_ARRAY_TASK_ID", "SLURM_CPU_BIND_LIST", "SLURM_CPUS_PER_TASK", "SLURM_JOB_ID"),
        *("SLURM_JOB_END_TIME", "SLURM_MEM_PER_CPU", "SLURM_PROCID", "SLURM_WORKING_CLUSTER"),
        *("SLURMD_NODENAME", "SRUN_DEBUG", "SBATCH_CPU_BIND", "SBATCH_MEM_BIND_TYPE"),
        *("PMI_RANK", "PMIX_NAMESPACE", "PMIX_SERVER_URI41"),
    ]
    users = [
        *("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_SOCKET"),
        *("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_CONSTRAINT", "SALLOC_ACCOUNT"),
        *("PMIX_MCA_gds", "SLURMY", "OMP_NUM_THREADS", "MY_SLURM_JOB_ID"),
    ]
    for name in [*of_the_job, *users]:
        monkeypatch.setenv(name, "x")
    names = sbatch_environment("#!/bin/sh\n").keys()
    assert set(users) <= names
    assert not set(of_the_job) & names
    monkeypatch.delenv("SLURM_JOB_ID")  # then it is the user who has set them, for srun
    assert {"SLURM_CPU_BIND_LIST", "SRUN_DEBUG"} <= sbatch_environment("#!/bin/sh\n").keys()


@pytest.mark.parametrize("given", [None, "de_DE.UTF-8"])
def test_jobs_inherit_the_users_language(monkeypatch, given):
    monkeypatch.delenv("LC_ALL", raising=False)
    if given:
        monkeypatch.setenv("LC_ALL", given)
    environments = []

    def run(*_, env, **__):
        environments.append(env.get("LC_ALL"))
        return "1"

    monkeypatch.setattr(slurm_commands, "run_command", run)
    submit_job("#!/bin/sh\n")
    slurm_commands.test_submit("#!/bin/sh\n")
    assert environments == [given, given]


@pytest.mark.slurm
def test_what_a_user_has_set_for_all_jobs(slurm, monkeypatch, tmp_path):
    """Asked of Slurm: where the script says nothing it holds, and else it does not."""
    monkeypatch.delenv("LC_ALL", raising=False)
    for name, value in {
        "SBATCH_TIMELIMIT": "3",
        "SBATCH_JOB_NAME": "mine",
        "SBATCH_OUTPUT": str(tmp_path / "other"),
        "SBATCH_ARRAY_INX": "0-3",
        "SBATCH_MEM_PER_CPU": "3M",
        "SBATCH_WAIT": "1",
        "SBATCH_PARTITION": "nosuch",
        "SBATCH_QOS": "urgent",
    }.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    script = (
        "#!/bin/sh\n#SBATCH -p tiny\n#SBATCH -t 2\n#SBATCH -J ours\n#SBATCH --mem=50M\n"
        f"#SBATCH -o {log}\nenv; echo done\n"
    )
    job = submit_job(script)
    shown = slurm.run("scontrol", "show", "job", job)
    for words in ("JobName=ours", "Partition=tiny", "TimeLimit=00:02:00", "QOS=urgent", "mem=50M"):
        assert words in shown
    poll(lambda: log.exists() and "done\n" in log.read_text(), "the job to end")
    assert "LC_ALL" not in log.read_text()


@pytest.mark.slurm
def test_the_jobs_of_a_run_are_found_and_cancelled(slurm, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "COMPLETED")  # a user's own wish
    script = "#!/bin/sh\n#SBATCH --comment={}\n#SBATCH -o /dev/null\nsleep 1000\n"
    ours = [submit_job(script.format("run-1")) for _ in range(2)]
    theirs = submit_job(script.format("run-2"))
    assert sorted(list_jobs("run-1")) == sorted(ours)
    assert sorted(cancel_jobs("run-1")) == sorted(ours)
    poll(lambda: not list_jobs("run-1"), "our jobs to end")
    assert list(list_jobs("run-2")) == [theirs]
    scancel([*ours, theirs])  # some are gone already
    poll(lambda: not list_jobs("run-2"), "all jobs to end")


@pytest.mark.parametrize(
    ("line", "nodes"),
    [
        ("", "n1,n3"),
        ("#SBATCH --exclude=n7", "n7,n1,n3"),
        ("#SBATCH -x n[5-7],n9", "n[5-7],n9,n1,n3"),
        ('#SBATCH -c 2 -xn7 -o "/a b/%J.out"', "n7,n1,n3"),
        ("#SBATCH --exclude n7\n#SBATCH --exclude=n8", "n8,n1,n3"),  # as for sbatch
        ("#SBATCH --exclusive", "n1,n3"),
        ("#SBATCH --exclude={}", "n7,n[8-9],n4,n1,n3"),
        ("true\n#SBATCH --exclude=n7", "n1,n3"),
    ],
)
def test_what_the_script_excludes_stays_excluded(monkeypatch, tmp_path, line, nodes):
    """Whether by name or by a file of names, as sbatch takes them."""
    (tmp_path / "bad").write_text("n7,n[8-9] # since May\n# n5\n\nn4\n")
    asked = []
    monkeypatch.setattr(
        slurm_commands, "run_command", lambda *words, **_: asked.append(words) or "1"
    )
    script = f"#!/bin/sh\n{line.format(tmp_path / 'bad')}\n"
    submit_job(script, "n1", "n3")
    slurm_commands.test_submit(script, "n1", "n3")
    Queue(script, "ours", "run").exclude(["n1", "n3"], ["7", "8"])
    submit_job(script)  # here sbatch reads the script itself
    Queue(script, "ours", "run").exclude(["n1"], [])
    assert asked == [
        ("sbatch", "--parsable", f"--exclude={nodes}"),
        ("sbatch", "--test-only", f"--exclude={nodes}"),
        ("scontrol", "update", "JobId=7,8", f"ExcNodeList={nodes}"),
        ("sbatch", "--parsable"),
    ]


@pytest.mark.slurm
def test_nodes_are_excluded(slurm, tmp_path):
    """Jobs that wait too; one that is gone is no hindrance."""
    (tmp_path / "bad").write_text("n4 # since May\n")
    head = "#!/bin/sh\n#SBATCH -o /dev/null\n#SBATCH --hold\n"
    script = f"{head}#SBATCH --exclude={tmp_path}/bad\n"

    def nodes(*ids):
        listed = slurm.run("squeue", "--noheader", f"--jobs={','.join(ids)}", "--format=%x")
        return listed.split()

    jobs = [submit_job(script), submit_job(script, "n2", "n3")]
    try:
        assert sorted(nodes(*jobs)) == ["n4", "n[2-4]"]
        Queue(script, "ours", "run").exclude(["n1"], ["99999", *jobs])
        assert nodes(*jobs) == ["n[1,4]"] * 2
        Queue(head, "ours", "run").exclude([], jobs)
        assert nodes(*jobs) == []
    finally:
        scancel(jobs)
    assert slurm_commands.test_submit(script, "n1", "n2") is None
    assert slurm_commands.test_submit(script, "n1", "n2", "n3") is not None
    poll(lambda: not set(jobs) & set(slurm.jobs()), "the jobs to end")


@pytest.mark.slurm
def test_without_a_controller_nothing_is_known(slurm, monkeypatch, tmp_path):
    text = (slurm.folder / "slurm.conf").read_text()
    conf = tmp_path / "slurm.conf"
    lines = [line for line in text.splitlines() if not line.startswith("SlurmctldPort=")]
    conf.write_text("\n".join([*lines, "SlurmctldPort=1", ""]))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    with pytest.raises(CommandError) as caught:
        list_jobs("run")
    assert caught.value.unheard, caught.value.text


def test_ids_are_read_again_in_their_order(tmp_path):
    path = tmp_path / "jobs.jsonl"
    book = JobBook(path)
    assert book.ids() == []
    for job_id in ("12", "13", "9", "12"):
        book.note(job_id)
    assert JobBook(path).ids() == ["12", "13", "9"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_line_costs_no_other(tmp_path):
    path = tmp_path / "jobs.jsonl"
    book = JobBook(path)
    book.note("12")
    with path.open("ab") as file:
        file.write(b'{"job_id": "13", "subm')
    assert book.ids() == ["12"]
    book.note("14")
    assert book.ids() == ["12", "14"]


def test_lines_that_are_not_jobs_are_left_out(tmp_path):
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b'[]\n7\nnull\n{}\n{"job_id": 5}\n\xff\n\n{"job_id": "6"}\n')
    assert JobBook(path).ids() == ["6"]

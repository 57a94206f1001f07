"""Which nodes are excluded after which early ends of jobs; on the real Slurm: test_pool_heals."""

from __future__ import annotations

import pytest

from seedwise.cluster.pool.jobs import BadNodes, EndedJobs, PoolJob
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import parse_sacct, parse_scontrol

HOUR_S = 3600.0
#: Further than the time for which the accounting is asked about a job.
APART_S = 10.0


def excluded_after(tmp_path, ends, *, usable=("n1", "n2", "n3", "n4"), at_work=True):
    """Return the excluded nodes and the error after jobs that ended, as sacct lists them.

    An end is written without the id, as ``FAILED|1:0|n1``; a number is a pause in seconds.
    """
    nodes = BadNodes(
        lambda without: None if set(usable) - set(without) else CommandError("no node")
    )
    known = {}
    ended = EndedJobs(lambda ids: known, tmp_path, nodes)
    now_s, error = 0.0, None
    for number, end in enumerate(ends, 100):
        if end == "scale":
            nodes.forget()
        elif end == "a worker joined":
            ended.a_worker_joined()
        elif isinstance(end, float):
            now_s += end
        else:
            now_s += APART_S
            known |= parse_sacct(f"{number}|{end}|2G")
            ended.add(PoolJob(str(number)), now_s)
            error = error or ended.explain(now_s, at_work=at_work)[1]
    return list(nodes.excluded(now_s)), error


@pytest.mark.parametrize(
    ("ends", "excluded"),
    [
        # Counting.
        ([], []),
        (["FAILED|1:0|n1"], []),
        (["FAILED|1:0|n1", "FAILED|1:0|n2"], []),
        (["FAILED|1:0|n1", "FAILED|1:0|n2", "FAILED|1:0|n1"], ["n1"]),
        (["FAILED|1:0|n1", "a worker joined", "FAILED|1:0|n1"], ["n1"]),
        (["FAILED|1:0|n1"] * 9, ["n1"]),
        (["FAILED|1:0|n1", "FAILED|1:0|n3"] * 2, ["n1", "n3"]),
        (["COMPLETED|0:0|n1"] * 2, ["n1"]),  # without a worker that joined
        (["FAILED|0:53|n1"] * 2, ["n1"]),  # Slurm could not open its log
        (["OUT_OF_MEMORY|0:125|n1"] * 2, ["n1"]),
        (["NODE_FAIL|0:0|n1"] * 2, ["n1"]),
        (["BOOT_FAIL|0:0|n1"] * 2, ["n1"]),
        # What is not the node's doing.
        (["CANCELLED by 0|0:0|n1"] * 3, []),
        (["TIMEOUT|0:0|n1"] * 3, []),
        (["DEADLINE|0:0|n1"] * 3, []),
        (["PREEMPTED|0:0|n1"] * 3, []),
        # Forgetting.
        (["FAILED|1:0|n1", HOUR_S, "FAILED|1:0|n1"], []),
        (["FAILED|1:0|n1", HOUR_S - APART_S - 1, "FAILED|1:0|n1"], ["n1"]),
        (["FAILED|1:0|n1", "FAILED|1:0|n1", HOUR_S - 1], ["n1"]),
        (["FAILED|1:0|n1", "FAILED|1:0|n1", HOUR_S], []),
        (["FAILED|1:0|n1"] * 5 + [HOUR_S, "FAILED|1:0|n1"], []),
        (["FAILED|1:0|n1"] * 2 + [HOUR_S, *["FAILED|1:0|n1"] * 2], ["n1"]),
        (["FAILED|1:0|n1", "FAILED|1:0|n1", "scale"], []),
        (["FAILED|1:0|n1", "scale", "FAILED|1:0|n1"], []),
        # Never all.
        (["FAILED|1:0|n1", "FAILED|1:0|n2", "FAILED|1:0|n3", "FAILED|1:0|n4"] * 3, None),
        # Names.
        (["FAILED|1:0|gpu-a100_07.site"] * 2, ["gpu-a100_07.site"]),
        (["FAILED|1:0|None assigned"] * 3, []),
        (["FAILED|1:0|(null)"] * 3, []),
        (["FAILED|1:0|"] * 3, []),
        (["FAILED|1:0|n[1-2]"] * 3, []),
        (["FAILED|1:0|n1,n2"] * 3, []),
    ],
)
def test_the_nodes_that_are_excluded(tmp_path, ends, excluded):
    found, _ = excluded_after(tmp_path, ends)
    assert found == (["n1", "n2", "n3"] if excluded is None else excluded)


GONE_1, GONE_2 = "FAILED|127:0|n1", "FAILED|127:0|n2"
BAD_1, BAD_2, BAD_3, NOWHERE = (f"FAILED|1:0|{node}" for node in ("n1", "n2", "n3", "(null)"))


@pytest.mark.parametrize(
    ("usable", "ends", "nodes"),
    [
        (("n1", "n2", "n3", "n4"), [BAD_1] * 20, None),
        (("n1", "n2", "n3", "n4"), [BAD_1, BAD_2] * 20, None),
        (("n1", "n2", "n3", "n4"), [BAD_1, BAD_2, BAD_3], ("n1", "n2", "n3")),
        (("n1", "n2", "n3", "n4"), [BAD_1, BAD_2, "a worker joined", BAD_3], None),
        (("n1", "n2", "n3", "n4"), [BAD_1, BAD_1, NOWHERE, NOWHERE], ("n1",)),
        (("n1", "n2"), [BAD_1, BAD_1, BAD_2], None),
        (("n1", "n2"), [BAD_1, BAD_1, BAD_2, BAD_2], ("n1", "n2")),
        (("n1",), [BAD_1, BAD_1], None),
        (("n1",), [BAD_1, BAD_1, BAD_1], ("n1",)),
        (("n1",), ["NODE_FAIL|0:0|n1"] * 5, None),
        # The command is not there, so that the nodes are not to blame.
        (("n1", "n2", "n3", "n4"), [GONE_1, GONE_2], ("n1", "n2")),
        (("n1", "n2", "n3", "n4"), [GONE_1, GONE_1, GONE_1, "FAILED|126:0|n2"], ("n1", "n2")),
        (("n1", "n2", "n3", "n4"), [GONE_1, BAD_2], None),
        (("n1", "n2", "n3", "n4"), [GONE_1] * 9, None),
        (("n1", "n2", "n3", "n4"), ["a worker joined", GONE_1, GONE_2], None),
        (("n1",), [GONE_1] * 2, None),
        (("n1",), [GONE_1] * 3, ("n1",)),
    ],
)
def test_the_run_ends_when_jobs_fail_on_different_nodes(tmp_path, usable, ends, nodes):
    _, error = excluded_after(tmp_path, ends, usable=usable, at_work=False)
    assert (None if error is None else error.nodes) == nodes
    _, error = excluded_after(tmp_path, ends, usable=usable, at_work=True)
    assert error is None


def test_while_slurm_does_not_answer_a_node_is_neither_excluded_nor_the_last():
    answers = [CommandError("sbatch gave no answer within 8 s"), None]
    nodes = BadNodes(lambda _: answers.pop(0))
    for _ in range(2):
        assert nodes.note_early_end("n1", "7", "it failed", 0.0) == []
    assert not nodes.no_others
    (news,) = nodes.note_early_end("n1", "8", "it failed", 1.0)
    why = "3 jobs ended there before their worker joined"
    assert (news.kind, news.job_id, news.warns) == ("excluded", "8", True)
    assert news.text == f"excluded node n1: {why}"
    assert nodes.excluded(1.0) == {"n1": f"{why}; the last one: it failed"}


@pytest.mark.parametrize(
    "end", ["FAILED|127:0|{}", "FAILED|126:0|{}", pytest.param("FAILED|1:0|{}", id="no module")]
)
def test_a_command_that_is_not_there_is_told_once_and_excludes_no_node(tmp_path, end):
    nodes = BadNodes(lambda _: None)
    ids = [str(number) for number in range(987_650, 987_658)]  # in no path
    known = parse_sacct("".join(f"{i}|{end.format(f'n{i[-1]}')}|2G\n" for i in ids))
    known |= parse_sacct("".join(f"{i}|{end.format('n1')}|2G\n" for i in ids[:4]))
    for job_id in ids:
        (tmp_path / f"{job_id}.err").write_text("python: No module named distributed\n")
    ended = EndedJobs(lambda _: known, tmp_path, nodes)
    for job_id in ids[:4]:
        ended.add(PoolJob(job_id), 0.0)
    news, error = ended.explain(0.0, at_work=False)
    assert error is None
    assert [one.text.partition(":")[0] for one in news if one.warns] == [
        "a job on n1 ended before its worker joined",
        "3 more jobs ended in the same way",
        "excluded node n1",
    ]
    assert [one.job_id for one in news if one.kind == "lost"] == ids[:4]  # for the log of events
    for job_id in ids[4:]:
        ended.add(PoolJob(job_id), 10.0)
    news, error = ended.explain(10.0, at_work=False)
    assert error.nodes == ("n1", "n4")
    assert str(error).count("No module named distributed") == 1
    assert [one.text for one in news if one.warns] == ["1 more job ended in the same way"]
    assert nodes.excluded(10.0) == {}


def test_each_reason_is_told_and_again_after_a_worker_joined(tmp_path):
    known = parse_sacct("7|FAILED|1:0|n1|2G\n8|FAILED|3:0|n2|2G\n9|FAILED|3:0|n2|2G")
    ended = EndedJobs(lambda _: known, tmp_path, BadNodes(lambda _: None))
    told = []
    for now_s, job_id in enumerate(known):
        ended.add(PoolJob(job_id), now_s * APART_S)
        told.append(ended.explain(now_s * APART_S, at_work=True)[0][0].warns)
        if job_id == "8":
            ended.a_worker_joined()
    assert told == [True, True, True]


@pytest.mark.parametrize("node", ["", "(null)", "n[1-2]", "n1,n2", "n1"])
def test_the_node_that_slurmctld_names(node):
    shown = f"JobId=7 JobState=FAILED ExitCode=1:0 NodeList={node} NumNodes=1"
    assert parse_scontrol(shown)["7"].only_node == (node if node == "n1" else None)

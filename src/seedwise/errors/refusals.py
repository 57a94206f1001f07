"""What to change after a refusal by sbatch."""

import re

_DIRECTIVES = "change SlurmOptions(extra_directives=...)"

# By what is in sbatch's words; they are Slurm's own, or those of the site's rules. The first match
# counts: what is named exactly goes before what other refusals mention, too.
_CHANGES = {
    r"violates accounting/QOS policy|QOS\w*Limit|Assoc\w*Limit|MaxSubmit": (
        "A limit of the QoS or the account is reached: ask for fewer workers (workers, "
        "array_parallelism_limit), for less (worker_time_limit, cpus_per_task, "
        "mem_per_cpu), or choose another slurm_qos or SlurmOptions(account=...)."
    ),
    r"\bgres\b|generic resource|\bgpus?\b|\btres\b": (
        f"The cluster does not give such generic resources or GPUs: {_DIRECTIVES}."
    ),
    r"--mem\b|\bmemory\b|--mem-per-|MaxMemPer": (
        "Slurm does not take the memory that is asked for: change mem_per_cpu. Where a site "
        "takes no --mem, ask by SlurmOptions(extra_directives=['--mem-per-cpu=2G']), or have "
        "it left out with Dask's setting jobqueue.slurm.job-directives-skip: ['--mem=']."
    ),
    r"\bqos\b": "Slurm does not take this QoS here: change slurm_qos, or give slurm_qos=None.",
    r"\baccount\b|\bproject\b": (
        "Slurm does not take this account, or not in this partition: change "
        "SlurmOptions(account=..., partition=...)."
    ),
    r"time ?limit|\bwalltime\b|--time\b": (
        "Slurm does not take this walltime: change worker_time_limit."
    ),
    (
        r"unrecognized option|\bfeature\b|constraint|reservation|licen[sc]e|node name|wckey|"
        r"dependency|\bnode ?list\b|invalid -"
    ): f"The job script has an option that Slurm does not take: {_DIRECTIVES}.",
    r"processors|\bcpus?\b|\bcores?\b": (
        "Slurm does not give a job so many CPUs: change cpus_per_task."
    ),
    r"node configuration|node count": (
        "No node has what is asked for: change cpus_per_task, mem_per_cpu or "
        "SlurmOptions(partition=..., extra_directives=...)."
    ),
    r"\bpartition\b|\bqueue\b": (
        "Slurm does not take this partition: change SlurmOptions(partition=...)."
    ),
}
_ANY = (
    "Change what it names: SlurmOptions(partition=..., account=..., extra_directives=...), "
    "slurm_qos, worker_time_limit, cpus_per_task or mem_per_cpu."
)


def what_to_change(refusal: str) -> str:
    """Return, in a sentence, which options to change so that sbatch may take the job."""
    found = (
        advice
        for pattern, advice in _CHANGES.items()
        if re.search(pattern, refusal, re.IGNORECASE)
    )
    return next(found, _ANY)

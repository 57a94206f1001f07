#!/usr/bin/env bash
# Installs what the Slurm testbed of the tests needs on Debian or Ubuntu, and the
# browser of those of the study page. Starts none of it, and does nothing where it
# cannot work: the tests skip there.
set -euo pipefail

say() { printf 'install.sh: %s\n' "$*" >&2; }

missing() {
    local name
    for name in munged mariadbd mariadb-install-db slurmdbd slurmctld slurmd sbatch sacctmgr \
        chromium chromedriver; do
        PATH="$PATH:/usr/sbin:/usr/bin:/sbin" command -v "$name" >/dev/null || printf '%s ' "$name"
    done
}

absent=$(missing)
if [ -z "$absent" ]; then
    say "Slurm, munge, MariaDB and Chromium are installed already."
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    say "not root, so these stay missing and their tests will skip: $absent"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    say "no apt-get, so these stay missing and their tests will skip: $absent"
    exit 0
fi

# While this file says 101, Debian's maintainer scripts start no daemon.
policy=/usr/sbin/policy-rc.d
saved=
restore() {
    if [ -n "$saved" ]; then
        mv -f "$saved" "$policy"
    else
        rm -f "$policy"
    fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -e "$policy" ] || [ -L "$policy" ]; then
    saved=$policy.before-slurm-testbed.$$
    mv "$policy" "$saved"
fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends \
    slurmctld slurmd slurm-client slurmdbd munge mariadb-server chromium chromium-driver

absent=$(missing)
if [ -n "$absent" ]; then
    say "the packages are installed, but these are still missing: $absent"
    exit 1
fi
say "installed; nothing was started."

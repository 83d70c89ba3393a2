# What the scripts of this folder share: where things are kept, and which Docker engine answers. Source it.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

# Kept between runs: images, packages, the guest, the Python environment.
export SF_CACHE=${SF_CACHE:-/var/cache/shakenfist-test}
# Kept for as long as the rig runs: socket, pid file, the key that opens the test hosts.
rig_run=${SF_RIG_RUN:-/run/shakenfist-test}
# The addresses of all test networks; examples and other test networks keep clear of it.
rig_net=172.29.0.0/16

# An engine that the operator runs is used as it is; otherwise the rig's own, which docker.sh starts.
if [ -z "${DOCKER_HOST:-}" ] && { [ -S "$rig_run/docker.sock" ] || ! docker info >/dev/null 2>&1; }; then
    export DOCKER_HOST=unix://$rig_run/docker.sock
fi

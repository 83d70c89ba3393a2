#!/usr/bin/env bash
# Runs one scenario with the collection as an operator gets it: the built tarball, installed without network.
#
#   run.sh SCENARIO [ACTION]    ACTION is what molecule knows: test (default), create, converge, verify, destroy, login, ...
#
# SF_NODE names the agent to deploy; without it the workspace is built. SF_KEEP=1 leaves hosts and engine running.
# SF_SUITE is the release of Debian that the nodes have (default bookworm); one that the mirror lacks is skipped.
# SF_ANSIBLE_KIND=ansible-oldest deploys with the oldest Ansible that the collection works with.
set -euo pipefail
. "$(dirname "$0")/rig.sh"

scenario=${1:?usage: run.sh SCENARIO [ACTION]}
action=${2:-test}
shared=$(cd "$(dirname "$0")" && pwd)
root=$(root_dir)
need_root "running a scenario"

suite=${SF_SUITE:-bookworm}
mirror=${SF_DEBIAN_MIRROR:-http://deb.debian.org/debian}
# Only 404 says that there is no such release. A mirror that does not answer, or refuses, says nothing about what it has.
if [ "$suite" != bookworm ] && ! said=$(LC_ALL=C wget --spider --server-response --tries=3 --timeout=60 "$mirror/dists/$suite/Release" 2>&1); then
    # The last of them: a mirror may send elsewhere first.
    answer=$(sed -n 's|^ *HTTP/[0-9.]* \([0-9]*\).*|\1|p' <<<"$said" | tail -n 1)
    if [ "$answer" = 404 ]; then
        echo "skipped: no mirror for $suite"
        exit
    fi
    fail "asking the mirror for $suite" "$mirror does not answer: ${answer:-$(tail -n 1 <<<"$said")}" "try again later, or set SF_DEBIAN_MIRROR"
fi

"$shared/docker.sh" start
stop_engine() { [ -n "${SF_KEEP:-}" ] || [ "$action" != test ] || "$shared/docker.sh" stop; }
trap stop_engine EXIT
mkdir -p "$SF_CACHE/apt"

venv=$("$root/scripts/client-venv.sh" "${SF_ANSIBLE_KIND:-ansible}")
export PATH=$venv/bin:$PATH

# What a release directory holds.
dist=$rig_run/dist
version=$(sed -n 's/^version: //p' "$root/galaxy.yml")
agent=$dist/sf-node-$version-x86_64-linux-gnu
if [ "$action" = test ] || [ ! -d "$dist" ]; then
    rm -rf "$dist" "$rig_run/collections"
    mkdir -p "$dist"
    binary=${SF_NODE:-}
    if [ -z "$binary" ]; then
        (cd "$root" && cargo build --locked --quiet -p sf-node)
        binary=${CARGO_TARGET_DIR:-$root/target}/debug/sf-node
    fi
    # A debug build carries 200 MB of symbols that no host needs.
    strip -o "$agent" "$binary"
    ansible-galaxy collection build "$root" --output-path "$dist" >/dev/null
    ansible-galaxy collection install "$dist/shakenfist-cloud-$version.tar.gz" --offline -p "$rig_run/collections" >/dev/null
    "$root/scripts/guest-image.sh" "$dist/guest.qcow2"
    (cd "$dist" && sha256sum "sf-node-"* >SHA256SUMS)
fi

# The key that opens the test hosts, and secrets that appear nowhere else: verify looks for them in everything written.
if [ ! -f "$rig_run/key" ]; then
    ssh-keygen -q -t ed25519 -N '' -f "$rig_run/key"
    cat >"$rig_run/secrets.yml" <<SECRETS
vault_sf_mariadb_password: sentinel-mariadb-$(openssl rand -hex 8)
vault_sf_system_key: sentinel-system-key-$(openssl rand -hex 8)
vault_sf_kek: $(openssl rand -base64 32)
SECRETS
    chmod 0600 "$rig_run/secrets.yml"
fi

export ANSIBLE_COLLECTIONS_PATH=$rig_run/collections ANSIBLE_HOME=$rig_run/ansible
# As strict as the reference core can be made: R-3.2.
export ANSIBLE_INJECT_FACT_VARS=false ANSIBLE_ALLOW_BROKEN_CONDITIONALS=false
export ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3 ANSIBLE_PIPELINING=true ANSIBLE_LOCALHOST_WARNING=false
export ANSIBLE_CALLBACK_RESULT_FORMAT=yaml
export ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=120s -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
export SF_SUITE=$suite SF_RIG=$shared SF_RIG_RUN=$rig_run SF_AGENT=$agent SF_EXAMPLES=$root/examples
export SF_IMAGE_BARE SF_IMAGE_NODE SF_IMAGE_INFRA
SF_IMAGE_BARE=$("$shared/image.sh" "$suite" bare)
# The bare image is enough for a scenario that shows how a node begins.
SF_IMAGE_NODE=
grep --quiet 'rig_image: node' "$root/molecule/$scenario/hosts.yml" && SF_IMAGE_NODE=$("$shared/image.sh" "$suite" node)
# Not the system under test: what the site brings stays on one release.
SF_IMAGE_INFRA=$("$shared/image.sh" bookworm infra)

SF_CLIENT=$("$root/scripts/client-venv.sh" client)/bin/python
export SF_CLIENT

cd "$root"
export COLUMNS=160 ANSIBLE_NOCOLOR=1 NO_COLOR=1
drive() { molecule --base-config "$shared/base.yml" "$1" --no-command-borders --scenario-name "$scenario" "${@:2}"; }
if [ "$action" != test ]; then
    drive "$action"
    exit
fi

# Hosts of a run that was cut off must not be taken for this run's.
drive destroy >/dev/null
rm -rf "$SF_CACHE/reports"
mkdir -p "$rig_run/log"
log=$rig_run/log/$scenario.log
status=0
drive test --destroy=never 2>&1 | tee "$log" || status=$?
if [ "$status" -ne 0 ]; then
    say "what the hosts say about themselves is in $SF_CACHE/reports"
    drive cleanup >/dev/null 2>&1 || true
fi
# Whatever was printed, at whatever verbosity, holds no secret.
if sed -n 's/^vault_[a-z_]*: //p' "$rig_run/secrets.yml" | grep --fixed-strings --quiet --file=- "$log"; then
    echo "FAILED: the output of the scenario holds a secret, see $log"
    status=1
fi
[ -n "${SF_KEEP:-}" ] || drive destroy >/dev/null
exit "$status"

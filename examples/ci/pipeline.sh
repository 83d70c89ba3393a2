#!/usr/bin/env bash
# Builds, packs, installs, deploys twice. The second deployment must change nothing.
#
#   SF_MARIADB_PASSWORD_FILE=… SF_SYSTEM_KEY_FILE=… pipeline.sh INVENTORY [OPTIONS OF ansible-playbook]
set -euo pipefail

inventory=$(realpath "${1:?usage: pipeline.sh INVENTORY [OPTIONS OF ansible-playbook]}")
shift
here=$(cd "$(dirname "$0")" && pwd)
source=$(realpath "$here/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n 's/^version: //p' "$source/galaxy.yml")
agent=${SF_AGENT:-}
if [ -z "$agent" ]; then
    (cd "$source" && cargo build --locked --release -p sf-node)
    agent=${CARGO_TARGET_DIR:-$source/target}/release/sf-node
fi

ansible-galaxy collection build "$source" --output-path "$work/dist"
export ANSIBLE_COLLECTIONS_PATH=$work/collections
ansible-galaxy collection install "$work/dist/shakenfist-cloud-$version.tar.gz" --offline -p "$work/collections"

# Secrets go through a file that only this user reads.
umask 077
{
    printf 'sf_mariadb_password: "%s"\n' "$(cat "$SF_MARIADB_PASSWORD_FILE")"
    printf 'sf_system_key: "%s"\n' "$(cat "$SF_SYSTEM_KEY_FILE")"
    printf 'sf_agent_file: "%s"\n' "$agent"
} >"$work/vars.yml"

play() { ansible-playbook -i "$inventory" -e "@$work/vars.yml" "$@"; }
play "$@" "$here/../mariadb/install.yml"
play "$@" "$here/site.yml"
play "$@" "$here/site.yml" | tee "$work/second.log"
if grep -E 'changed=[1-9]' "$work/second.log"; then
    echo "the second deployment changed something, see above" >&2
    exit 1
fi

#!/usr/bin/env bash
# Builds, packs, installs, deploys twice. The second deployment must change nothing.
#
#   SF_MARIADB_PASSWORD_FILE=… SF_SYSTEM_KEY_FILE=… [SF_AGENT=…] pipeline.sh INVENTORY [OPTIONS OF ansible-playbook]
set -euo pipefail

inventory=$(realpath "${1:?usage: pipeline.sh INVENTORY [OPTIONS OF ansible-playbook]}")
shift
: "${SF_MARIADB_PASSWORD_FILE:?name the file with the password of MariaDB}" "${SF_SYSTEM_KEY_FILE:?name the file with the key of namespace system}"
export SF_MARIADB_PASSWORD_FILE SF_SYSTEM_KEY_FILE
here=$(cd "$(dirname "$0")" && pwd)
source=$(realpath "$here/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n 's/^version: //p' "$source/galaxy.yml")
if [ -z "${SF_AGENT:-}" ]; then
    (cd "$source" && cargo build --locked --release -p sf-node)
    SF_AGENT=${CARGO_TARGET_DIR:-$source/target}/release/sf-node
fi
export SF_AGENT

ansible-galaxy collection build "$source" --output-path "$work/dist"
export ANSIBLE_COLLECTIONS_PATH=$work/collections
ansible-galaxy collection install "$work/dist/shakenfist-cloud-$version.tar.gz" --offline -p "$work/collections"

# Ansible reads the secrets out of their files: they are in no argument, and in no second file.
cat >"$work/vars.yml" <<'EOF'
sf_mariadb_password: "{{ lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'SF_MARIADB_PASSWORD_FILE')) }}"
sf_system_key: "{{ lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'SF_SYSTEM_KEY_FILE')) }}"
sf_agent_file: "{{ lookup('ansible.builtin.env', 'SF_AGENT') }}"
sf_agent_sha256sums: ""
EOF

play() { ansible-playbook -i "$inventory" -e "@$work/vars.yml" "$@"; }
play "$@" "$here/../mariadb/install.yml"
play "$@" "$here/site.yml"
play "$@" "$here/site.yml" | tee "$work/second.log"
if grep -E 'changed=[1-9]' "$work/second.log"; then
    echo "the second deployment changed something, see above" >&2
    exit 1
fi

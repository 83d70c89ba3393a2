#!/usr/bin/env bash
# Makes a release directory: the agent for this architecture, the collection as tarball, and SHA256SUMS of both.
#
#   [SF_BINARY=…] dist.sh [DIRECTORY]    DIRECTORY is dist/ of this clone when left out, and otherwise outside of the clone
#
# SF_BINARY names an agent that is built already; without it the release build is made. Running it again replaces the three.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$(root_dir)
dist=$(realpath -m "${1:-$root/dist}")
version=$(sed -n 's/^version: //p' "$root/galaxy.yml")
cd "$root"

# The collection is made of the whole clone but for what galaxy.yml names: elsewhere in it, the agent would get into the tarball.
inside=$(realpath "$root")
case "$dist/" in
"$inside"/dist/*) ;;
"$inside"/*) fail "making a release directory" "$dist is inside the clone, and would become part of the collection" "use dist/ of the clone, or a directory outside" ;;
esac

binary=$(SF_PROFILE=release agent_binary)
if [ -z "${SF_BINARY:-}" ]; then
    say "1/3 building the agent"
    command -v cargo >/dev/null || fail "building the agent" "cargo is not on the PATH" "install Rust 1.90 or newer with rustup"
    cargo build --release --locked -p sf-node ||
        fail "building the agent" "cargo said why above" "it needs the packages build-essential, pkg-config and libvirt-dev"
else
    say "1/3 the agent is $binary"
fi
said=$("$binary" --version) || fail "asking the agent for its version" "$binary does not run here" "give one for this machine"
[ "$said" = "sf-node $version" ] ||
    fail "making release $version" "$binary is '$said'" "give an agent of this clone, or leave SF_BINARY out"

install -d -m 0755 "$dist"
# Written last, so that a directory with sums is a whole one.
rm -f "$dist/SHA256SUMS"
agent=sf-node-$version-$(uname -m)-linux-gnu
# Symbols are of no use on a host.
strip -o "$dist/$agent" "$binary" || fail "copying the agent" "strip said why above" "install binutils"
chmod 0755 "$dist/$agent"

say "2/3 the collection"
venv=$(scripts/client-venv.sh ansible)
collection=shakenfist-cloud-$version.tar.gz
"$venv/bin/ansible-galaxy" collection build "$root" --output-path "$dist" --force >/dev/null

say "3/3 the sums"
(cd "$dist" && sha256sum "$agent" "$collection" >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
echo "DIST OK $dist"
ls -l "$dist"

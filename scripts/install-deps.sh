#!/usr/bin/env bash
# Installs the Debian packages that building, running and testing need. Idempotent; touches nothing when all are there.
#
#   install-deps.sh [test] [rig]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# What `make quickstart` needs.
BUILD="build-essential pkg-config libvirt-dev ca-certificates curl git"
RUN="mariadb-server mariadb-client libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils iproute2 iputils-ping"
GUEST="busybox-static cpio syslinux mtools dosfstools"
PYTHON="python3 python3-venv"
# What only `make test` needs.
TEST="nftables sqlite3 jq genisoimage debootstrap procps openssl apache2-bin haproxy nginx libxml2-utils"

# What the tests of the role need besides: hosts in containers.
RIG="docker.io iptables nftables debootstrap openssh-client"

wanted="$BUILD $RUN $GUEST $PYTHON"
for kind in "$@"; do
    case "$kind" in
    test) wanted="$wanted $TEST" ;;
    rig) wanted="$wanted $RIG" ;;
    *) fail "install-deps.sh" "there is no list called $kind" "see the head of this file" ;;
    esac
done

missing=()
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    need_root "installing packages"
    say "installing ${#missing[@]} packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Services of these packages must not start by themselves: the cloud runs private ones in its own directory. Only for
    # the time of this installation, and only where no policy of the operator exists.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -q >/dev/null || fail "apt-get update" "a package source did not answer" "check the network and /etc/apt/sources.list"
    # apt would also remove what is in the way, and be content.
    apt=(apt-get install -y -q --no-install-recommends --no-remove)
    if ! "${apt[@]}" "${missing[@]}" >/tmp/sf-apt.$$.log 2>&1; then
        # A newer qemu-utils from another suite conflicts with the emulator of this one: take both from one suite.
        suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
        if grep -q qemu-utils /tmp/sf-apt.$$.log &&
            "${apt[@]}" --allow-downgrades "qemu-utils/$suite" "${missing[@]}" >/tmp/sf-apt.$$.log 2>&1; then
            say "qemu-utils was taken from $suite, to match the emulator"
        else
            tail -n 20 /tmp/sf-apt.$$.log >&2
            fail "installing packages" "apt-get refused, see above" "resolve the conflict and run the command again"
        fi
    fi
    rm -f /tmp/sf-apt.$$.log
fi

command -v cargo >/dev/null || fail "looking for the Rust toolchain" "cargo is not on the PATH" \
    "install Rust 1.90 or newer with rustup (Debian's own rustc is too old), then run the command again"

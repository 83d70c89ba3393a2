# Shared by the scripts of this folder. Source it, do not run it.
# shellcheck shell=bash

# say MESSAGE: one step of progress.
say() { printf '==> %s\n' "$*"; }

# fail WHAT WHY WHAT-TO-DO: ends the script with the three things a person wants to know.
fail() {
    printf '\nFAILED: %s\n   why: %s\n   do:  %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# need_root COMMAND: the cloud makes network devices and virtual machines, which only root may.
need_root() {
    [ "$(id -u)" -eq 0 ] || fail "$1" "it must run as root" "run it again as root, or with sudo"
}

root_dir() { cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd; }

# The file by which a data directory says that the quickstart made it, and for which cluster.
quickstart_mark() { printf '%s/.sf-quickstart\n' "$1"; }

# agent_binary: the agent that SF_BINARY names, or else where cargo puts it for SF_PROFILE.
agent_binary() {
    local target=${CARGO_TARGET_DIR:-$(root_dir)/target} folder=release
    [ "${SF_PROFILE:-release}" = release ] || folder=debug
    printf '%s\n' "${SF_BINARY:-$target/$folder/sf-node}"
}

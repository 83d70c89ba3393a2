#!/usr/bin/env bash
# Prints what of the cloud a machine holds: processes, links, namespaces, nft tables and mounts, sorted, one a line.
# Two inventories that differ name what was left behind.
#
#   inventory.sh DATA_DIR
set -euo pipefail
data=${1:?usage: inventory.sh DATA_DIR}

for cmdline in /proc/[0-9]*/cmdline; do
    pid=${cmdline#/proc/}
    pid=${pid%/cmdline}
    [ "$pid" = $$ ] && continue
    words=$({ tr '\0' ' ' <"$cmdline"; } 2>/dev/null) || continue
    case "$words" in
    *inventory.sh*) ;;
    *"$data/"* | *"$data "*) echo "process ${words%% *}" ;;
    esac
done | sort
ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/link \1/' | sort
for name in /run/netns/*; do [ -e "$name" ] && echo "netns ${name##*/}"; done
nft list tables 2>/dev/null | sed 's/^/nft /' | sort
awk -v data="$data" '$2 == data || index($2, data "/") == 1 {print "mount " $2}' /proc/self/mounts | sort

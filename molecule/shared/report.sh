#!/bin/sh
# Writes /root/report.tar.gz: journal, units, network, guests and the agent's own view.
mkdir -p /root/report && cd /root/report || exit 1
say() {
    file=$1
    shift
    "$@" >"$file" 2>&1 || echo "exit status $?" >>"$file"
}
say journal.txt journalctl --boot --no-pager --output=short-precise
say units.txt systemctl list-units --all --no-pager 'sf*' 'libvirt*' 'virt*' mariadb.service haproxy.service nginx.service
say failed.txt systemctl --failed --no-pager
say status.txt systemctl status --no-pager --lines=50 'sf-*'
say links.txt ip -details address
say routes.txt ip route show table all
say namespaces.txt ip netns list
say domains.txt virsh list --all
say processes.txt ps -eo user,pid,ppid,etime,args
say disk.txt df -h
say node.json sf-ctl node status --json
say local.json sf-ctl local status --json
tar -czf /root/report.tar.gz -C /root report

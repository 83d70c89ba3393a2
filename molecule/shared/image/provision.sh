# Runs once inside the new root: what an installer would have done.
set -eu
suite=$1
mirror=$2

cat >/etc/apt/sources.list <<APT
deb $mirror $suite main
deb $mirror $suite-updates main
APT
# A test host lives for minutes: it need not survive a power failure in the middle of dpkg.
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/test-host
echo 'APT::Keep-Downloaded-Packages "true";' >/etc/apt/apt.conf.d/test-host

# The operator's account, as on a cloud image: ssh with a key, sudo without a password.
useradd --create-home --shell /bin/bash debian
echo 'debian ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/debian
chmod 0440 /etc/sudoers.d/debian
install -d -m 0700 -o debian -g debian /home/debian/.ssh

# There is no console, no kernel to load modules into, and no clock to set.
for unit in getty@tty1.service systemd-modules-load.service systemd-timesyncd.service systemd-udev-trigger.service \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket apt-daily.timer apt-daily-upgrade.timer \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount; do
    systemctl mask "$unit" >/dev/null 2>&1
done
rm -f /etc/machine-id /var/lib/dbus/machine-id
touch /etc/machine-id

#!/bin/sh
# Makes a fresh Debian into the guest; a hook of mmdebstrap, whose first argument is the root directory.
set -eu
root=$1
echo guest >"$root/etc/hostname"
echo '127.0.0.1 localhost guest' >"$root/etc/hosts"
: >"$root/etc/machine-id"
# Nothing runs on its own account while tests are timed.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    haproxy.service logrotate.timer nginx.service postgresql.service prometheus.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/guest.conf"

# sshd's own package, for it to be upgraded.
(
    cd "$root/opt"
    APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q -o APT::Sandbox::User=root download openssh-server
    mv openssh-server_*.deb openssh-server.deb
)

# What the guest is given lies on a disk as a tar archive.
cat >"$root/etc/systemd/system/payload.service" <<'UNIT'
[Unit]
Description=Unpack what this guest is given
BindsTo=dev-disk-by\x2did-virtio\x2dpayload.device
After=dev-disk-by\x2did-virtio\x2dpayload.device
# Without it there is no verdict to wait for.
FailureAction=poweroff-force

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /opt/cotter && tar -x -f /dev/disk/by-id/virtio-payload -C /opt/cotter'
UNIT
# `exec`: a boot waits for units that are `oneshot`, and the runner waits for the boot.
cat >"$root/etc/systemd/system/runner.service" <<'UNIT'
[Unit]
Description=Run what this guest is given
Requires=payload.service
After=payload.service
ConditionKernelCommandLine=!cotter.shell
FailureAction=poweroff-force

[Service]
Type=exec
ExecStart=/opt/cotter/tests/vm/guest/run
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT
# A root shell on the serial line where one is asked for.
mkdir -p "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
cat >"$root/etc/systemd/system/serial-getty@ttyS0.service.d/root.conf" <<'UNIT'
[Unit]
ConditionKernelCommandLine=cotter.shell
Wants=payload.service
After=payload.service
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 - $TERM
UNIT
chroot "$root" systemctl --quiet enable runner.service

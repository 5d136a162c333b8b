# Goes on where the stage is set, as the same process, and becomes a systemd that starts nothing by itself but the
# journal: units are started by whoever asks for them, as they are installed.
set -eu
# What belongs to the machine as a whole, or to a full boot.
rm -rf /usr/lib/systemd/*-generators /usr/lib/systemd/system/*.wants /etc/systemd/system/*
for socket in dev-log audit; do
    ln -s /dev/null "/etc/systemd/system/systemd-journald-$socket.socket"
done
cat >/etc/systemd/system/lab.target <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
# What another unit names is not forgotten when it has ended.
Before=cotter-agent.service
UNIT
cat >/etc/systemd/journald.conf <<'CONFIG'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
CONFIG
echo node >/etc/hostname
# Without one, systemd takes this for the first boot, and enables what it finds.
echo c0773ec0773ec0773ec0773ec0773e00 >/etc/machine-id
mount --bind /dev/null /dev/console

# The control group of the lab is the root of the hierarchy that is seen in it.
umount --recursive /sys/fs/cgroup
mount -t cgroup2 lab-cgroup /sys/fs/cgroup
echo ready
exec env -i container=lab PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --system --unit=lab.target --show-status=no

# Sets the lab's stage, as the first process of new mount, pid, network and uts namespaces: everything that the lab
# writes goes to memory of its own, and the host's files are only read.
# Arguments: the directory with the built binaries, which are taken from there with their unit if they are there (else
# those count that are installed); the unit; for a lab with systemd, its control group, and what goes on from here.
set -eu
umask 022
echo node >/proc/sys/kernel/hostname

mount -t tmpfs -o mode=755 lab-run /run
mkdir -p /run/lab /run/sshd /run/netns
for dir in etc usr/bin usr/lib usr/sbin usr/share/pam-configs var; do
    mkdir -p "/run/lab/upper/$dir" "/run/lab/work/$dir"
    mount -t overlay -o "lowerdir=/$dir,upperdir=/run/lab/upper/$dir,workdir=/run/lab/work/$dir" "lab-$dir" "/$dir"
done

# The binaries come to where the package puts them: sshd accepts its commands only below directories of root's.
# Before /tmp, /root and /home are covered, for they may have been built there.
mkdir -p /usr/lib/cotter
for target in /usr/sbin/cotter-agent /usr/lib/cotter/cotter-hook /usr/sbin/cotter-authority /usr/bin/cotter; do
    binary=$1/${target##*/}
    [ -x "$binary" ] || continue
    install -o root -g root -m 755 /dev/null "$target"
    cp "$binary" "$target"
done
[ ! -x "$1/cotter-agent" ] || printf %s "$2" >/usr/lib/systemd/system/cotter-agent.service
mount -t tmpfs -o mode=1777 lab-tmp /tmp
mount -t tmpfs -o mode=700 lab-root /root
mount -t tmpfs -o mode=755 lab-home /home

# A sysfs of this network namespace, with the host's cgroups and an empty bpffs in it.
mkdir /run/lab/cgroup
mount --rbind /sys/fs/cgroup /run/lab/cgroup
mount -t sysfs lab-sys /sys
mount --move /run/lab/cgroup /sys/fs/cgroup
mount -t bpf lab-bpf /sys/fs/bpf

# Accounts. Nobody has a password; `*` keeps sshd from calling the account locked.
account() { # name uid home shell
    sed -i "/^$1:/d" /etc/passwd /etc/shadow /etc/group
    echo "$1:x:$2:$2::$3:$4" >>/etc/passwd
    echo "$1:*:19000:0:99999:7:::" >>/etc/shadow
    echo "$1:x:$2:" >>/etc/group
}
for person in alice:4101 bob:4102; do
    name=${person%:*}
    account "$name" "${person#*:}" "/home/$name" /bin/sh
    install -d -m 700 -o "$name" -g "$name" "/home/$name"
done
grep -q ^sshd: /etc/passwd || account sshd 4199 /run/sshd /usr/sbin/nologin
account _cotter-relay 4198 /nonexistent /usr/sbin/nologin
printf '%s\n' 'passwd: files' 'group: files' 'shadow: files' 'hosts: files' >/etc/nsswitch.conf
rm -rf /etc/cotter /var/lib/cotter /var/log/cotter
install -d -m 755 /etc/cotter /etc/cotter/ca /etc/cotter/roles.d /var/log/cotter
install -d -m 700 /var/lib/cotter /root/.ssh

# ssh's client: no questions, no memory of hosts, nothing of the host's own settings and keys.
mount -t tmpfs -o mode=700 lab-ssh /root/.ssh
cat >/etc/ssh/ssh_config <<'CONFIG'
BatchMode yes
ConnectTimeout 10
IdentitiesOnly yes
LogLevel ERROR
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
CONFIG

# From here on this is the init of the lab, with whose end every process and mount of the lab ends.
if [ $# -gt 2 ]; then
    echo 0 >"$3/cgroup.procs"
    exec unshare --cgroup sh -c "$4"
fi
# Of children that lose their parent the kernel disposes itself, since their signal is ignored (which a shell's trap does
# not do). When the test closes the pipe, or dies, the end of input ends init.
echo ready
exec env --ignore-signal=CHLD cat

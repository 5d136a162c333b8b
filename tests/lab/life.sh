# The life of a lab in which systemd runs, and which therefore has a control group of its own: when the end of input
# comes, or whoever holds its other end dies, all processes in the group are killed, and it is removed. Init is among
# them, and with it goes the rest.
# Arguments: the control group; the command that begins the lab.
set -eu
group=$1
shift
exec 3<&0 </dev/null
# In a session of its own, so that what ends the test does not end this.
# shellcheck disable=SC2016 # for the inner shell
setsid sh -c '
    cat >/dev/null
    echo 1 >"$0/cgroup.kill"
    until find "$0" -depth -type d -exec rmdir {} + || [ ! -e "$0" ]; do sleep 0.05; done
' "$group" <&3 >/dev/null 2>&1 3<&- &
exec "$@" 3<&-

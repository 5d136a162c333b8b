#!/bin/sh
# Makes a disk with one file system of the directories $1 and $2, which stay as they are: $3, of the size $4.
# In a mount namespace of its own.
set -eu
merged=$(mktemp -d)
trap 'umount "$merged" 2>/dev/null || true; rmdir "$merged"' EXIT
mount -t overlay -o "lowerdir=$1:$2" guest "$merged"
mke2fs -q -t ext4 -d "$merged" "$3" "$4"

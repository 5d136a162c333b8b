#!/bin/sh
# Fetches a kernel and unpacks it into the directory $KERNEL: the newest package whose name fits $PATTERN, with its parts
# where they have packages of their own. A hook of mmdebstrap, by whose apt configuration it is found.
set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

if [ -n "$BACKPORTS" ]; then
    # The same archives once more, by this suite's name.
    for file in "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*; do
        [ -s "$file" ] || continue
        more=$(sed "s/\(^\|[[:space:]]\)$CODENAME\([[:space:]]\|\$\)/\1$BACKPORTS\2/" "$file")
        printf '\n%s\n' "$more" >>"$file"
    done
    apt-get -q update
fi

mkdir -p "$KERNEL"
cd "$KERNEL"

image=$(apt-cache search --names-only "$PATTERN" | sed 's/ .*//' | sort -V | tail -n 1)
[ -n "$image" ] || { echo "apt offers no package like $PATTERN" >&2; exit 1; }
parts=$(apt-cache depends "$image" | sed -n 's/^ *Depends: \(linux-\(base\|binary\|modules\)-.*\)$/\1/p')
# shellcheck disable=SC2086 # none or three
apt-get -q -o APT::Sandbox::User=root download "$image" $parts
for package in *.deb; do
    dpkg-deb -x "$package" .
    rm "$package"
done

# To where a Debian of today has them; and out of their compression, which every boot would undo again.
[ ! -d lib ] || { mkdir -p usr && mv lib usr/lib; }
find . -name '*.ko.xz' -exec xz -d {} +
release=$(ls usr/lib/modules)
[ -d boot ] || { mkdir boot && mv "usr/lib/modules/$release/vmlinuz" "boot/vmlinuz-$release"; }
depmod --basedir "$KERNEL/usr" "$release"

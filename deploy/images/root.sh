#!/bin/sh
# root.sh PACKAGES ROOT: a root file system of exactly these Debian packages, unpacked and not configured: no maintainer
# script runs, so there are no logs, caches or clocks in it, and two runs give the same bytes.
set -eu
packages=$(sed 's/#.*//' "$1")
root=$2
mkdir -p "$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" \
    "$root/usr/lib64" "$root/var/lib/dpkg/status.d"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done  # merged, as Debian 12 is

work=$(mktemp -d)
cd "$work"
apt-get update -qq
# shellcheck disable=SC2086  # a list of names
apt-get download -qq -o APT::Sandbox::User=root $packages
for file in *.deb; do
    dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink \
        --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/lintian' \
        --exclude='./usr/share/applications' --exclude='./usr/share/pixmaps' --exclude='./usr/share/bug'
    # What scanners read where there is no package manager.
    dpkg-deb --field "$file" > "$root/var/lib/dpkg/status.d/$(dpkg-deb --field "$file" Package)"
done
find "$root/usr/share/doc" -type f ! -name copyright -delete  # licences stay
find "$root/usr/share/doc" -type l ! -name copyright ! -xtype d -delete
find "$root" -name __pycache__ -prune -exec rm -r {} +

# What the packages' own scripts would have done, as far as it is needed.
ln -s python3.11 "$root/usr/bin/python3"
cat "$root"/usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chmod 755 "$root/var/tmp" "$root/var/lock"  # one folder that everybody may write to is enough

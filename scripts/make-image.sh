#!/usr/bin/env bash
# Makes an OCI layout with one image, redis:7, of Debian packages: a Debian base layer and a layer with redis.
#   scripts/make-image.sh DIRECTORY
# The layout is there whole or not at all. The mirror is that of this machine's own apt. Needs root, mmdebstrap, umoci.
set -euo pipefail

if [ $# -ne 1 ]; then
  sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
target=$1
mkdir -p "$(dirname "$target")"
# Two at the same time: the second one waits and finds it made.
exec 9>"$target.lock"
flock 9
[ ! -e "$target/index.json" ] || exit 0

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
architecture=$(dpkg --print-architecture)
# One-line sources and deb822, those of Debian itself before others; security updates come from the package's next point
# release, which is enough for a demo.
mirror=$(
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] +)?([^ ]+) .*/\2/p' |
    grep -E '/debian/?$' | head -n 1
) || true
if [ -z "$mirror" ]; then
  echo 'make-image: no Debian mirror in the apt sources of this machine' >&2
  exit 1
fi

# With the lock nobody else is at work: those are of runs that were killed.
rm -rf --one-file-system "$target".??????
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What this machine's apt needs to reach its mirrors, such as a proxy, the image's needs too.
options=()
while read -r option; do options+=("--aptopt=$option"); done < <(
  apt-config dump | grep -iE '^Acquire::(http|https)::(Proxy|CaInfo)' || true
)

export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=1700000000
layout=$work/layout
echo "make-image: Debian $suite, with mmdebstrap" >&2
mmdebstrap --quiet --variant=apt --mode=root "${options[@]}" \
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
  "$suite" "$work/base.tar" "$mirror" >&2
umoci init --layout "$layout"
umoci new --image "$layout:7"
umoci raw add-layer --image "$layout:7" --history.created_by "mmdebstrap $suite" "$work/base.tar"
umoci config --image "$layout:7" --architecture "$architecture" --os linux \
  --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

echo 'make-image: redis, with umoci' >&2
umoci unpack --image "$layout:7" "$work/bundle" >&2
root=$work/bundle/rootfs
cp /etc/resolv.conf "$root/etc/resolv.conf"
# The mount and all processes end with it, however it ends: nothing is held when the directory is removed.
unshare --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" sh -ec '
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends redis-server >/dev/null
  apt-get clean
  rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
  rm -f /etc/apt/apt.conf.d/99mmdebstrap' >&2
: >"$root/etc/resolv.conf"
umoci repack --image "$layout:7" --history.created_by 'apt-get install redis-server' "$work/bundle" >&2
umoci config --image "$layout:7" --config.entrypoint redis-server \
  --config.cmd --bind --config.cmd 0.0.0.0 --config.cmd --protected-mode --config.cmd no \
  --config.cmd --save --config.cmd '' --config.user redis --config.workingdir /var/lib/redis \
  --config.exposedports 6379/tcp --config.stopsignal SIGTERM
umoci gc --layout "$layout" >/dev/null
mv "$layout" "$target"
echo "make-image: $(du -sh "$target" | cut -f1) in $target" >&2

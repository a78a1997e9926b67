#!/bin/sh
# Boots systemd on this machine's files with those in NODE over them, in namespaces that it was started in:
#   unshare --mount --pid --cgroup --uts --ipc --fork --kill-child sh box.sh NODE WORK
# The network is the machine's. Whoever listens at NOTIFY_SOCKET is told of the end of the boot.
set -eu
node=$1 work=$2 root=$2/root
mkdir "$root" "$work/work"
mount --make-rprivate /
mount -t overlay -o "lowerdir=/,upperdir=$node,workdir=$work/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	umount -l "$root/sys/fs/cgroup"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	umount -l "$root/sys/fs/cgroup/systemd"
	mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
for dir in run tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"; done
chmod 755 "$root/run"
mkdir "$root/run/before"
cd "$root"
pivot_root . run/before
umount -l /run/before
container=nested exec /lib/systemd/systemd --system --unit=sockets.target

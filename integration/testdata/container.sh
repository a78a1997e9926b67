#!/bin/sh
# Runs a command as a container of the DaemonSet runs it: in a root of its own that is read-only, with the mounts, as root
# without capabilities but for the one that chroot needs. In a mount namespace that it was started in:
#   unshare --mount sh container.sh ROOT ro|rw SOURCE TARGET ... -- COMMAND...
# The machine's libraries are there for a nestctl that is not static.
set -eu
root=$1 && shift
mount --make-rprivate /
mount --bind "$root" "$root"
for dir in lib lib64 usr dev proc; do
	[ -d "/$dir" ] || continue
	mkdir -p "$root/$dir"
	mount --rbind "/$dir" "$root/$dir"
done
while [ "$1" != -- ]; do
	if [ -d "$2" ]; then mkdir -p "$root$3"; else mkdir -p "$(dirname "$root$3")" && : >>"$root$3"; fi
	mount --bind "$2" "$root$3"
	[ "$1" = rw ] || mount -o remount,bind,ro "$root$3"
	shift 3
done
shift
mount -o remount,bind,ro "$root"
# Another user, USER:GROUP in AS, has no capability once it is that.
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot${AS:+,+setuid,+setgid} \
	chroot ${AS:+--userspec="$AS" --groups=} "$root" "$@"

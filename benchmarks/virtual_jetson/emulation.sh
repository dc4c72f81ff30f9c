#!/bin/sh
# Run a command with the file systems of a virtual Jetson mounted, and with aarch64 programs run by QEMU.
#
# usage: emulation.sh ROOT COMMAND [ARGUMENT...]      in a mount namespace of its own (unshare --mount)
#
# The kernel is told about QEMU once, for all processes of this machine, as Debian's packages do where they are installed
# in a usual way; that is the only thing that stays (`update-binfmts --disable qemu-aarch64` takes it back).
set -eu
root=$1
shift
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
if [ -d "$root/proc" ] && ! mountpoint -q "$root/proc"; then
  mount -t proc none "$root/proc"
  mount -t tmpfs -o mode=755 none "$root/run"
  mount -t tmpfs -o mode=1777 none "$root/tmp"
  mount --rbind /dev "$root/dev"
fi
exec "$@"

#!/bin/sh
# Run a command with the file systems of a virtual Jetson mounted, and with aarch64 programs run by QEMU.
#
# usage: emulation.sh ROOT COMMAND [ARGUMENT...]      in a mount namespace of its own (unshare --mount)
#
# The kernel is told about QEMU by way of the file system binfmt_misc; where that is not mounted yet, the mount and what
# the kernel was told go with the namespace (Linux 6.7 and newer; before, `update-binfmts --disable qemu-aarch64`).
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

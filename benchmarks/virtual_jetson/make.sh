#!/bin/sh
# Make the root of a virtual Jetson: Debian for aarch64 with Python, sshd, this project and the aarch64 wheels that it
# needs, out of Debian's archive and the Python package index alone. It runs under QEMU's user emulation: an aarch64
# processor in instructions, files and libraries, and this machine's kernel. Debian's Python 3.11 stands for JetPack's 3.10.
#
# usage: make.sh FOLDER       makes FOLDER/root; what is there already and still fits is kept
#
# Needs root, debootstrap, qemu-user-static and binfmt-support. What it mounts is seen by it alone and is gone when it
# ends, however it ends; a root that was half made is thrown away by the next run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
if [ $# != 1 ]; then
  echo "usage: make.sh FOLDER" >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "making a virtual Jetson needs root: it changes its root folder and mounts" >&2
  exit 1
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root

# One at a time, in mounts and processes of its own: they end with it.
if [ -z "${ST4VLA_JETSON_INSIDE:-}" ]; then
  ST4VLA_JETSON_INSIDE=1 exec flock "$folder" \
    unshare --mount --pid --fork --kill-child --mount-proc --propagation private "$here/make.sh" "$folder"
fi

log=$folder/make.log
: >"$log"
say() { echo "virtual Jetson: $*"; }
quietly() { "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; say "failed at: $*; all of it is in $log" >&2; exit 1; }; }
sum() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

"$here/emulation.sh" "$root" true

suite=bookworm
packages=python3,openssh-server
wanted="$suite $packages"
if [ "$(cat "$root/.debian" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$root" "$folder/making"
  say "Debian $suite for arm64"
  quietly debootstrap --foreign --arch=arm64 --variant=minbase --include="$packages" "$suite" "$folder/making" \
    ${MIRROR:+"$MIRROR"}
  # Nothing in it is worth a wait for the disk.
  mkdir -p "$folder/making/etc/dpkg/dpkg.cfg.d"
  echo force-unsafe-io >"$folder/making/etc/dpkg/dpkg.cfg.d/st4vla"
  say "its packages, under QEMU"
  quietly chroot "$folder/making" /debootstrap/debootstrap --second-stage
  rm -rf "$folder/making/var/cache/apt/archives"
  echo "$wanted" >"$folder/making/.debian"
  mv "$folder/making" "$root"
fi

# The wheels are unpacked by this machine's pip, which is faster than one under emulation by far.
wanted=$(sum "$project/pyproject.toml" "$project/constraints.txt" "$here/make.sh")
say "this project"
rm -rf "$folder/wheel" "$root/opt/st4vla/own"
quietly "$python" -m pip wheel -q --no-deps -w "$folder/wheel" "$project"
wheel=$(echo "$folder"/wheel/st4vla-*.whl)
if [ "$(cat "$root/.wheels" 2>/dev/null)" != "$wanted" ]; then
  say "the wheels that it needs, for aarch64"
  rm -rf "$root/opt/st4vla/needs"
  quietly "$python" -m pip install -q -c "$project/constraints.txt" --target "$root/opt/st4vla/needs" \
    --python-version 3.11 --only-binary=:all: --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_26_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 "$wheel[cpu,device]"
  # The project itself lies beside them, so that it can be replaced alone.
  rm -rf "$root/opt/st4vla/needs/st4vla" "$root/opt/st4vla/needs"/st4vla-*
  echo "$wanted" >"$root/.wheels"
fi
quietly "$python" -m pip install -q --no-deps --target "$root/opt/st4vla/own" "$wheel"
printf '%s\n' /opt/st4vla/own /opt/st4vla/needs >"$root/usr/lib/python3/dist-packages/st4vla.pth"
install -m 755 "$here/st4vla" "$root/usr/local/bin/st4vla"

say "its first start, which also keeps Python's bytecode"
quietly "$here/emulation.sh" "$root" chroot "$root" /usr/bin/python3 -m compileall -q /opt/st4vla/own /opt/st4vla/needs/msgspec \
  /opt/st4vla/needs/numpy /opt/st4vla/needs/zmq /opt/st4vla/needs/onnxruntime /opt/st4vla/needs/cryptography
quietly "$here/emulation.sh" "$root" chroot "$root" /usr/local/bin/st4vla doctor
say "made in $root"

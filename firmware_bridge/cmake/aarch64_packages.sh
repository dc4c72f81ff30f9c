#!/bin/sh
# Unpack what the bridge needs on a Jetson (libzmq, libjpeg-turbo and theirs) from Debian's arm64 packages into a
# folder, for a cross build with -DST4VLA_AARCH64_ROOT=FOLDER. Nothing is installed; apt's own state is left alone.
# usage: aarch64_packages.sh FOLDER
set -eu
mkdir -p "$1"
root=$(cd "$1" && pwd)
mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial"
: >"$root/apt/status"
quietly() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$root/apt" \
    -o Dir::State::status="$root/apt/status" -o Dir::Cache="$root/apt/cache" -o APT::Sandbox::User=root "$@"
}
quietly update
quietly --yes --download-only --no-install-recommends install libzmq5 libturbojpeg0
(cd "$root/apt/cache/archives" && quietly download libzmq3-dev libturbojpeg0-dev)
for package in "$root"/apt/cache/archives/*.deb; do
  dpkg-deb --extract "$package" "$root"
done
rm -r "$root/apt"

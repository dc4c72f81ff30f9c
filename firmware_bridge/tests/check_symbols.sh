#!/bin/sh
# The library shows what its headers declare, and nothing else.
# usage: check_symbols.sh LIBRARY INCLUDE_DIRECTORY
set -eu
shown=$(nm -D --defined-only "$1" | awk '{print $3}' | sort)
declared=$(cat "$2"/st4vla/bridge.h "$2"/st4vla/cameras.h "$2"/st4vla/message.h "$2"/st4vla/status.h |
  grep -v '^#' | tr '\n' ' ' | grep -o 'ST4VLA_API [^(;]*(' | sed 's/($//; s/.*[ *]//' | sort)
if [ "$shown" != "$declared" ]; then
  echo "shown by $1:" >&2
  echo "$shown" >&2
  echo "declared:" >&2
  echo "$declared" >&2
  exit 1
fi

#!/bin/sh
# The library shows what its headers declare, and nothing else.
# usage: check_symbols.sh LIBRARY HEADER...
set -eu
library=$1
shift
shown=$(nm -D --defined-only "$library" | awk '{print $3}' | sort)
declared=$(cat "$@" | grep -v '^#' | tr '\n' ' ' | grep -oE 'ST4VLA_([A-Z]+_)?API [^(;]*\(' |
  sed 's/($//; s/.*[ *]//' | sort)
if [ "$shown" != "$declared" ]; then
  printf 'shown by %s:\n%s\ndeclared:\n%s\n' "$library" "$shown" "$declared" >&2
  exit 1
fi

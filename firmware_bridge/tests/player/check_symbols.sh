#!/bin/sh
# What the player calls, and what it shows: nothing that allocates, locks, throws or waits, and only its ABI.
# usage: check_symbols.sh NM SHARED_LIBRARY OBJECTS...
set -eu
nm=$1 library=$2
shift 2
# __aarch64_swp...: an atomic exchange in one instruction where the processor has it, as a Jetson Orin's does.
allowed='^(__aarch64_swp[0-9]_[a-z_]*|mem(cpy|set|move)|sqrt|sin|cos|sincos|atan2|exp|floor|ceil)$'
allowed="$allowed|^(__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$"
# Creating and destroying allocate; nothing else in the ABI has a reason to.
creating='^(_ZnwmRKSt9nothrow_t|_ZnwmSt11align_val_tRKSt9nothrow_t|_ZSt7nothrow|_ZdlPv.*)$'
for object in "$@"; do
  calls=$("$nm" -u "$object" | awk '{print $NF}' | grep -vE "$allowed" | grep -v '^_ZNK\{0,1\}6st4vla6player' || true)
  case $object in
    *abi.cpp*) calls=$(echo "$calls" | grep -vE "$creating" || true) ;;
  esac
  if [ -n "$calls" ]; then
    echo "$object calls what a real-time step may not: $calls" >&2
    exit 1
  fi
done
shown=$("$nm" -D --defined-only "$library" | awk '{print $NF}' | grep -v '^st4vla_player_' || true)
if [ -n "$shown" ]; then
  echo "$library shows more than its ABI: $shown" >&2
  exit 1
fi
count=$("$nm" -D --defined-only "$library" | grep -c ' T st4vla_player_')
test "$count" -eq 13 || { echo "$library shows $count functions, not 13" >&2; exit 1; }

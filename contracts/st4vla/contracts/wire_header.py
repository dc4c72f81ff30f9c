"""The wire table as a C header, so that firmware and runtime cannot disagree about a byte.

`python -m st4vla.contracts.wire_header firmware_bridge/include/st4vla/wire.h` rewrites the committed header; a test
holds the two together.
"""

from __future__ import annotations

import enum
import sys
import textwrap
from pathlib import Path

from st4vla.contracts import messages, staleness
from st4vla.contracts import wire_table as table

_WIDTH = 120
_USAGE = "usage: python -m st4vla.contracts.wire_header PATH/wire.h\n"

_PREAMBLE = """\
/*
 * Layout of the messages between robot and runtime; C99 and C++17.
 *
 * GENERATED from contracts/st4vla/contracts/wire_table.py; do not edit. To rewrite it:
 *   python -m st4vla.contracts.wire_header firmware_bridge/include/st4vla/wire.h
 *
 * A message is one ZeroMQ frame: a header, then a record of fixed layout, then whatever that record counts.
 * Little-endian throughout, and no record has padding. Copy records out of a frame with memcpy: a frame's first byte
 * need not be aligned for them.
 */
#ifndef ST4VLA_WIRE_H
#define ST4VLA_WIRE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire format is little-endian; this machine is not"
#endif

#if defined(__cplusplus)
#define ST4VLA_STATIC_ASSERT(condition, text) static_assert(condition, text)
#elif defined(__GNUC__)
#define ST4VLA_STATIC_ASSERT(condition, text) __extension__ _Static_assert(condition, text)
#else
#define ST4VLA_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#define ST4VLA_WIRE_SIZE(type, bytes) ST4VLA_STATIC_ASSERT(sizeof(type) == (bytes), #type " has another size")
#define ST4VLA_WIRE_OFFSET(type, field, byte) \\
    ST4VLA_STATIC_ASSERT(offsetof(type, field) == (byte), #type "." #field " lies elsewhere")
"""

_POSTAMBLE = """\
#endif /* ST4VLA_WIRE_H */
"""

_ENUMS: tuple[tuple[str, str, type[enum.IntEnum]], ...] = (
    ("kind", "header.kind", table.Kind),
    ("error", "error.code", messages.ErrorCode),
    ("health", "welcome.health", messages.Health),
    ("image", "view.encoding", messages.ImageEncoding),
    ("instruction", "observation.instruction_encoding", messages.InstructionEncoding),
    ("action", "action_chunk.representation and welcome.representation", messages.ActionRepresentation),
    ("plan_reason", "plan.reason", messages.PlanReason),
    ("pace", "action_chunk.pace, and of a player", staleness.Pace),
)

_CONSTANTS: tuple[tuple[str, str, str], ...] = (
    ("MAGIC", f"UINT32_C({table.MAGIC:#010x})", "'ST4V' as the first four bytes"),
    ("WIRE_VERSION", str(table.WIRE_VERSION), "header.version"),
    ("VIEW_ALIGNMENT", str(table.VIEW_ALIGNMENT), "a picture begins at a multiple of it"),
    ("MAX_JOINTS", str(messages.MAX_JOINTS), "entries of a robot state's joint arrays"),
    ("MAX_VIEWS", str(messages.MAX_VIEWS), "views in an observation or a welcome"),
    ("MAX_VIEW_NAME_BYTES", str(messages.MAX_VIEW_NAME_BYTES), "not terminated when all are used"),
    ("MAX_INSTRUCTION_BYTES", str(messages.MAX_INSTRUCTION_BYTES), "of UTF-8"),
    ("MAX_IMAGE_SIDE", str(messages.MAX_IMAGE_SIDE), "pixels"),
    ("FLAG_ROBOT_STATE", f"UINT32_C({table.FLAG_ROBOT_STATE})", "observation.flags: a robot_state follows"),
    ("FLAG_REPLAN", f"UINT32_C({table.FLAG_REPLAN})", "observation.flags: ask System 2 for a new plan"),
    ("FLAG_WANTS_PLANS", f"UINT32_C({table.FLAG_WANTS_PLANS})", "observation.flags: send a plan notice for each plan"),
    ("FLAG_FRESH", f"UINT32_C({table.FLAG_FRESH})", "observation.flags: hold to nothing of earlier chunks"),
    ("NO_GRIPPER", f"({table.NO_GRIPPER})", "gripper_index where there is none"),
)


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH - 6)
    if len(lines) == 1:
        return f"/* {lines[0]} */"
    return "\n".join(["/*", *(f" * {line}" for line in lines), " */"])


def _constants() -> str:
    definitions = [(f"#define ST4VLA_{name} {value}", note) for name, value, note in _CONSTANTS]
    column = max(len(code) for code, _ in definitions)
    return "".join(f"{code:<{column}} /* {note} */\n" for code, note in definitions)


def _enum(name: str, where: str, values: type[enum.IntEnum]) -> str:
    entries = "".join(f"    ST4VLA_{name.upper()}_{entry.name} = {entry.value},\n" for entry in values)
    entries = entries.removesuffix(",\n") + "\n"
    return f"{_comment(f'Values of {where}.')}\ntypedef enum st4vla_{name} {{\n{entries}}} st4vla_{name};\n"


def _record(record: table.Record) -> str:
    kind = f"st4vla_wire_{record.name}"
    members = []
    for field in record.fields:
        length = f"[{field.count}]" if field.count > 1 else ""
        members.append((f"    {table.SCALARS[field.scalar][1]} {field.name}{length};", field.note))
    column = max(len(code) for code, _ in members)
    body = "".join(f"{code:<{column}} /* {note} */\n" for code, note in members)
    checks = [f"ST4VLA_WIRE_SIZE({kind}, {record.size});\n"]
    checks += [f"ST4VLA_WIRE_OFFSET({kind}, {field.name}, {offset});\n" for field, offset in record.offsets]
    return f"{_comment(record.note)}\ntypedef struct {kind} {{\n{body}}} {kind};\n{''.join(checks)}"


def wire_header() -> str:
    """Return the wire table as the text of a header that C99 and C++17 both take."""
    enums = (_enum(*entry) for entry in _ENUMS)
    records = (_record(record) for record in table.RECORDS)
    return "\n".join([_PREAMBLE, _constants(), *enums, *records, _POSTAMBLE])


def main(arguments: list[str]) -> int:
    """Write the header to the one path in `arguments`; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(_USAGE)
        return 2
    Path(arguments[0]).write_text(wire_header(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

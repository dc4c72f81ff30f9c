// What a frame carries, once its header and checksum have been looked at: for who must not do that twice.
#ifndef ST4VLA_WIRE_DECODE_H
#define ST4VLA_WIRE_DECODE_H

#include <cstddef>

#include "st4vla/message.h"

namespace st4vla {

/// Check magic, version, length, checksum and kind.
st4vla_status check_frame(const void *frame, std::size_t size, st4vla_wire_header &header) noexcept;

// Each takes a frame that check_frame has let pass, of its own kind.
st4vla_status read_observation(const void *frame, std::size_t size, st4vla_observation &observation) noexcept;
st4vla_status read_chunk(const void *frame, std::size_t size, st4vla_chunk &chunk) noexcept;
st4vla_status read_welcome(const void *frame, std::size_t size, st4vla_welcome &welcome) noexcept;
st4vla_status read_plan(const void *frame, std::size_t size, st4vla_plan &plan) noexcept;
st4vla_status read_error(const void *frame, std::size_t size, st4vla_error_reply &reply) noexcept;

/// Checksum of a whole message with its checksum field taken as zero; at least a header long.
uint32_t message_checksum(const void *frame, std::size_t size) noexcept;

}  // namespace st4vla

#endif  // ST4VLA_WIRE_DECODE_H

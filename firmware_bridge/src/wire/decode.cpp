// Frames to messages, with the checks of contracts/st4vla/contracts/wire_decoders.py in their order.
#include "decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "crc32c.h"
#include "reader.h"
#include "utf8.h"

namespace st4vla {
namespace {

constexpr std::size_t kCrc = offsetof(st4vla_wire_header, crc32c);

bool between(int value, int first, int last) { return value >= first && value <= last; }

template <typename Number>
bool all_finite(const Number *numbers, std::size_t count)
{
    return std::all_of(numbers, numbers + count, [](Number number) { return std::isfinite(number); });
}

st4vla_status read_state(Reader &reader, st4vla_wire_robot_state &state)
{
    if (const st4vla_status status = reader.record(state); status != ST4VLA_OK) {
        return status;
    }
    const bool fits = state.joint_count <= ST4VLA_MAX_JOINTS &&
                      all_finite(state.joint_positions_rad, state.joint_count) &&
                      all_finite(state.joint_velocities_rad_s, state.joint_count) && all_finite(state.base_T_ee, 16) &&
                      std::isfinite(state.gripper_width_m);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_view(Reader &reader, st4vla_view &view)
{
    st4vla_wire_view row;
    if (const st4vla_status status = reader.record(row); status != ST4VLA_OK) {
        return status;
    }
    const int name = padded_length(row.name, sizeof row.name);
    const std::uint64_t start = row.offset, size = row.bytes;
    const bool fits = between(row.encoding, ST4VLA_IMAGE_RGB8, ST4VLA_IMAGE_JPEG) && name >= 1 &&
                      is_ascii(row.name, sizeof row.name) && between(row.height, 1, ST4VLA_MAX_IMAGE_SIDE) &&
                      between(row.width, 1, ST4VLA_MAX_IMAGE_SIDE) &&
                      (row.encoding != ST4VLA_IMAGE_RGB8 || size == std::uint64_t{3} * row.height * row.width) &&
                      size != 0 && start >= reader.offset() && start + size <= reader.size();
    if (!fits) {
        return ST4VLA_MALFORMED_MESSAGE;
    }
    view = st4vla_view{row.capture_ns, reader.frame() + start, row.bytes, row.height, row.width, row.encoding, {}};
    std::memcpy(view.name, row.name, sizeof row.name);
    return ST4VLA_OK;
}

/// Whether no picture lies on another one, nor on what comes before the pictures.
bool lie_apart(const st4vla_observation &observation, const unsigned char *free)
{
    const st4vla_view *views = observation.views;
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        if (views[i].data < free) {
            return false;
        }
        for (uint32_t j = 0; j < i; ++j) {
            if (views[i].data < views[j].data + views[j].bytes && views[j].data < views[i].data + views[i].bytes) {
                return false;
            }
        }
    }
    return true;
}

bool rise(int64_t slow, int64_t hold, int64_t stop)
{
    int64_t last = 0;
    for (const int64_t bound : {slow, hold, stop}) {
        if (bound < 0 || (bound != 0 && bound < last)) {
            return false;
        }
        last = bound != 0 ? bound : last;
    }
    return true;
}

bool is_representation(int value) { return between(value, ST4VLA_ACTION_EE_DELTA, ST4VLA_ACTION_JOINT_POSITION); }

}  // namespace

uint32_t message_checksum(const void *frame, std::size_t size) noexcept
{
    static constexpr unsigned char kZero[4] = {};
    const auto *bytes = static_cast<const unsigned char *>(frame);
    const uint32_t crc = crc32c(crc32c(0, bytes, kCrc), kZero, sizeof kZero);
    return crc32c(crc, bytes + kCrc + sizeof kZero, size - kCrc - sizeof kZero);
}

st4vla_status check_frame(const void *frame, std::size_t size, st4vla_wire_header &header) noexcept
{
    uint32_t magic = 0;
    if (size >= sizeof magic) {
        std::memcpy(&magic, frame, sizeof magic);
    }
    if (magic != ST4VLA_MAGIC) {
        return ST4VLA_FOREIGN_MESSAGE;
    }
    if (size < sizeof header) {
        return ST4VLA_TRUNCATED_MESSAGE;
    }
    std::memcpy(&header, frame, sizeof header);
    if (header.version != ST4VLA_WIRE_VERSION) {
        return ST4VLA_OTHER_WIRE;
    }
    if (size - sizeof header != header.payload_bytes) {
        return ST4VLA_TRUNCATED_MESSAGE;
    }
    if (message_checksum(frame, size) != header.crc32c) {
        return ST4VLA_BAD_CHECKSUM;
    }
    return between(header.kind, ST4VLA_KIND_HELLO, ST4VLA_KIND_GOODBYE) ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_observation(const void *frame, std::size_t size, st4vla_observation &observation) noexcept
{
    Reader reader(frame, size);
    st4vla_wire_observation row;
    if (const st4vla_status status = reader.record(row); status != ST4VLA_OK) {
        return status;
    }
    if (row.instruction_encoding != ST4VLA_INSTRUCTION_UTF8 || !between(row.view_count, 1, ST4VLA_MAX_VIEWS) ||
        row.instruction_bytes > ST4VLA_MAX_INSTRUCTION_BYTES || row.deadline_ns < 0) {
        return ST4VLA_MALFORMED_MESSAGE;
    }
    observation = st4vla_observation{};
    observation.seed = row.seed;
    observation.deadline_ns = row.deadline_ns;
    observation.held_chunk_id = row.held_chunk_id;
    observation.held_received_ns = row.held_received_ns;
    observation.instruction_bytes = row.instruction_bytes;
    observation.flags = row.flags;
    observation.view_count = row.view_count;
    if ((row.flags & ST4VLA_FLAG_ROBOT_STATE) != 0) {
        if (const st4vla_status status = read_state(reader, observation.robot_state); status != ST4VLA_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        if (const st4vla_status status = read_view(reader, observation.views[i]); status != ST4VLA_OK) {
            return status;
        }
    }
    const unsigned char *instruction = reader.advance(row.instruction_bytes);
    if (instruction == nullptr) {
        return ST4VLA_TRUNCATED_MESSAGE;
    }
    observation.instruction = reinterpret_cast<const char *>(instruction);
    const bool fits =
        lie_apart(observation, instruction + row.instruction_bytes) && is_utf8(instruction, row.instruction_bytes);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_chunk(const void *frame, std::size_t size, st4vla_chunk &chunk) noexcept
{
    Reader reader(frame, size);
    st4vla_wire_action_chunk &row = chunk.body;
    if (const st4vla_status status = reader.record(row); status != ST4VLA_OK) {
        return status;
    }
    const std::size_t count = std::size_t{row.horizon} * row.action_dim;
    const unsigned char *actions = reader.advance(count * sizeof(float));
    if (actions == nullptr) {
        return ST4VLA_TRUNCATED_MESSAGE;
    }
    if (const st4vla_status status = reader.end(); status != ST4VLA_OK) {
        return status;
    }
    if (count > ST4VLA_MAX_ACTIONS) {
        return ST4VLA_TOO_SMALL;
    }
    std::memcpy(chunk.actions, actions, count * sizeof(float));
    const bool fits = count != 0 && all_finite(chunk.actions, count) &&
                      between(row.gripper_index, ST4VLA_NO_GRIPPER, row.action_dim - 1) && row.period_ns > 0 &&
                      is_representation(row.representation) && between(row.pace, ST4VLA_PACE_RUN, ST4VLA_PACE_STOP);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_welcome(const void *frame, std::size_t size, st4vla_welcome &welcome) noexcept
{
    Reader reader(frame, size);
    st4vla_wire_welcome &row = welcome.body;
    if (const st4vla_status status = reader.record(row); status != ST4VLA_OK) {
        return status;
    }
    if (!between(row.view_count, 1, ST4VLA_MAX_VIEWS)) {
        return ST4VLA_MALFORMED_MESSAGE;
    }
    bool names_fit = true;
    for (uint32_t i = 0; i < row.view_count; ++i) {
        st4vla_wire_welcome_view &view = welcome.views[i];
        if (const st4vla_status status = reader.record(view); status != ST4VLA_OK) {
            return status;
        }
        // Zeros are UTF-8: those inside of a name are looked for at the end, after what is cut off.
        if (!is_utf8(reinterpret_cast<const unsigned char *>(view.name), sizeof view.name)) {
            return ST4VLA_MALFORMED_MESSAGE;
        }
        names_fit &= padded_length(view.name, sizeof view.name) >= 0;
    }
    names_fit &= padded_length(row.bundle_name, sizeof row.bundle_name) >= 0 &&
                 is_utf8(reinterpret_cast<const unsigned char *>(row.bundle_name), sizeof row.bundle_name);
    const bool fits = reader.end() == ST4VLA_OK && names_fit && is_representation(row.representation) &&
                      between(row.health, ST4VLA_HEALTH_STARTING, ST4VLA_HEALTH_DEGRADED) &&
                      rise(row.frame_slow_ns, row.frame_hold_ns, row.frame_stop_ns) &&
                      rise(row.plan_slow_ns, row.plan_hold_ns, row.plan_stop_ns);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_plan(const void *frame, std::size_t size, st4vla_plan &plan) noexcept
{
    Reader reader(frame, size);
    if (const st4vla_status status = reader.record(plan.body); status != ST4VLA_OK) {
        return status;
    }
    const bool fits = reader.end() == ST4VLA_OK &&
                      between(plan.body.reason, ST4VLA_PLAN_REASON_FIRST, ST4VLA_PLAN_REASON_CHANGE);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

st4vla_status read_error(const void *frame, std::size_t size, st4vla_error_reply &reply) noexcept
{
    Reader reader(frame, size);
    st4vla_wire_error row;
    if (const st4vla_status status = reader.record(row); status != ST4VLA_OK) {
        return status;
    }
    const unsigned char *text = reader.advance(row.message_bytes);
    if (text == nullptr) {
        return ST4VLA_TRUNCATED_MESSAGE;
    }
    reply = st4vla_error_reply{};
    reply.observation_sequence = row.observation_sequence;
    reply.text = reinterpret_cast<const char *>(text);
    reply.text_bytes = row.message_bytes;
    reply.code = row.code;
    const bool fits = reader.end() == ST4VLA_OK && is_utf8(text, row.message_bytes) &&
                      between(row.code, ST4VLA_ERROR_FOREIGN_MESSAGE, ST4VLA_ERROR_INTERNAL);
    return fits ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE;
}

}  // namespace st4vla

namespace {

template <typename Message>
using Read = st4vla_status (*)(const void *, std::size_t, Message &) noexcept;

template <typename Message>
st4vla_status decode(const void *frame, std::size_t size, st4vla_kind kind, Read<Message> read, Message *message)
{
    if (frame == nullptr || message == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    st4vla_wire_header header;
    st4vla_status status = st4vla::check_frame(frame, size, header);
    if (status == ST4VLA_OK) {
        status = header.kind == kind ? read(frame, size, *message) : ST4VLA_UNEXPECTED_KIND;
    }
    if (status == ST4VLA_OK) {
        message->sequence = header.sequence;
        message->sent_ns = header.sent_ns;
    }
    return status;
}

}  // namespace

extern "C" {

st4vla_status st4vla_decode_header(const void *frame, size_t size, st4vla_wire_header *header)
{
    return frame == nullptr || header == nullptr ? ST4VLA_BAD_ARGUMENT : st4vla::check_frame(frame, size, *header);
}

st4vla_status st4vla_decode_observation(const void *frame, size_t size, st4vla_observation *observation)
{
    return decode(frame, size, ST4VLA_KIND_OBSERVATION, st4vla::read_observation, observation);
}

st4vla_status st4vla_decode_chunk(const void *frame, size_t size, st4vla_chunk *chunk)
{
    const st4vla_status status = decode(frame, size, ST4VLA_KIND_ACTION_CHUNK, st4vla::read_chunk, chunk);
    if (status == ST4VLA_OK) {
        chunk->received_ns = 0;
    }
    return status;
}

st4vla_status st4vla_decode_welcome(const void *frame, size_t size, st4vla_welcome *welcome)
{
    return decode(frame, size, ST4VLA_KIND_WELCOME, st4vla::read_welcome, welcome);
}

st4vla_status st4vla_decode_plan(const void *frame, size_t size, st4vla_plan *plan)
{
    return decode(frame, size, ST4VLA_KIND_PLAN, st4vla::read_plan, plan);
}

st4vla_status st4vla_decode_error(const void *frame, size_t size, st4vla_error_reply *reply)
{
    return decode(frame, size, ST4VLA_KIND_ERROR, st4vla::read_error, reply);
}

}  // extern "C"

// Messages to frames.
#include "encode.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../detail.h"
#include "crc32c.h"
#include "decode.h"
#include "utf8.h"

namespace st4vla {
namespace {

constexpr uint32_t kFlags =
    ST4VLA_FLAG_ROBOT_STATE | ST4VLA_FLAG_REPLAN | ST4VLA_FLAG_WANTS_PLANS | ST4VLA_FLAG_FRESH;

template <typename Number>
bool all_finite(const Number *numbers, std::size_t count)
{
    return std::all_of(numbers, numbers + count, [](Number number) { return std::isfinite(number); });
}

st4vla_status check_view(const st4vla_view &view)
{
    const std::size_t name = strnlen(view.name, sizeof view.name);
    if (name == 0 || name == sizeof view.name || !is_ascii(view.name, name)) {
        return fail(ST4VLA_BAD_ARGUMENT, "a view's name has 1 to %d characters of ASCII", ST4VLA_MAX_VIEW_NAME_BYTES);
    }
    if (view.data == nullptr || view.bytes == 0) {
        return fail(ST4VLA_BAD_ARGUMENT, "view '%s' has no bytes", view.name);
    }
    if (view.height < 1 || view.height > ST4VLA_MAX_IMAGE_SIDE || view.width < 1 ||
        view.width > ST4VLA_MAX_IMAGE_SIDE) {
        return fail(ST4VLA_BAD_ARGUMENT, "view '%s' is %d x %d pixels; each side may have 1 to %d", view.name,
                    view.height, view.width, ST4VLA_MAX_IMAGE_SIDE);
    }
    const std::size_t pixels = std::size_t{3} * view.height * view.width;
    if (view.encoding == ST4VLA_IMAGE_RGB8 && view.bytes != pixels) {
        return fail(ST4VLA_BAD_ARGUMENT, "view '%s' of %d x %d needs %zu bytes of RGB; got %zu", view.name, view.height,
                    view.width, pixels, view.bytes);
    }
    if (view.encoding != ST4VLA_IMAGE_RGB8 && view.encoding != ST4VLA_IMAGE_JPEG) {
        return fail(ST4VLA_BAD_ARGUMENT, "view '%s' has encoding %d; 1 is RGB, 2 is JPEG", view.name, view.encoding);
    }
    return ST4VLA_OK;
}

bool is_finite(const st4vla_wire_robot_state &state)
{
    return all_finite(state.joint_positions_rad, ST4VLA_MAX_JOINTS) &&
           all_finite(state.joint_velocities_rad_s, ST4VLA_MAX_JOINTS) && all_finite(state.base_T_ee, 16) &&
           std::isfinite(state.gripper_width_m);
}

/// Writes a frame from its first byte to its last and keeps the checksum of what it has written.
class Writer {
public:
    explicit Writer(void *frame) : frame_(static_cast<unsigned char *>(frame)) {}

    template <typename Record>
    void record(const Record &record)
    {
        bytes(&record, sizeof record);
    }

    void bytes(const void *data, std::size_t size)
    {
        if (size == 0) {
            return;
        }
        unsigned char *to = frame_ + offset_;
        crc_ = to == data ? crc32c(crc_, to, size) : copy_crc32c(crc_, to, data, size);
        offset_ += size;
    }

    void zeros_until(std::size_t offset)
    {
        std::memset(frame_ + offset_, 0, offset - offset_);
        crc_ = crc32c(crc_, frame_ + offset_, offset - offset_);
        offset_ = offset;
    }

    void header(st4vla_kind kind, std::size_t size, uint64_t sequence, int64_t sent_ns)
    {
        const std::size_t payload = size - sizeof(st4vla_wire_header);
        record(st4vla_wire_header{ST4VLA_MAGIC, ST4VLA_WIRE_VERSION, static_cast<uint16_t>(kind),
                                  static_cast<uint32_t>(payload), 0, sequence, sent_ns});
    }

    void finish() { std::memcpy(frame_ + offsetof(st4vla_wire_header, crc32c), &crc_, sizeof crc_); }

    std::size_t offset() const { return offset_; }

private:
    unsigned char *frame_;
    std::size_t offset_ = 0;
    uint32_t crc_ = 0;
};

}  // namespace

std::size_t head_bytes(const st4vla_observation &observation) noexcept
{
    const bool has_state = (observation.flags & ST4VLA_FLAG_ROBOT_STATE) != 0;
    return sizeof(st4vla_wire_header) + sizeof(st4vla_wire_observation) +
           (has_state ? sizeof(st4vla_wire_robot_state) : 0) + sizeof(st4vla_wire_view) * observation.view_count +
           observation.instruction_bytes;
}

st4vla_status check_observation(const st4vla_observation &observation) noexcept
{
    if (observation.view_count < 1 || observation.view_count > ST4VLA_MAX_VIEWS) {
        return fail(ST4VLA_BAD_ARGUMENT, "observation with %u views; 1 to %d are allowed", observation.view_count,
                    ST4VLA_MAX_VIEWS);
    }
    const auto *text = reinterpret_cast<const unsigned char *>(observation.instruction);
    if (observation.instruction_bytes > ST4VLA_MAX_INSTRUCTION_BYTES) {
        return fail(ST4VLA_BAD_ARGUMENT, "instruction of %u bytes; at most %d are allowed",
                    observation.instruction_bytes, ST4VLA_MAX_INSTRUCTION_BYTES);
    }
    if (observation.instruction_bytes != 0 && (text == nullptr || !is_utf8(text, observation.instruction_bytes))) {
        return fail(ST4VLA_BAD_ARGUMENT, "the instruction is not UTF-8");
    }
    if (observation.deadline_ns < 0 || (observation.flags & ~kFlags) != 0) {
        return fail(ST4VLA_BAD_ARGUMENT, "deadline_ns must be 0 (none) or positive, and flags those of wire.h");
    }
    if ((observation.flags & ST4VLA_FLAG_ROBOT_STATE) != 0 &&
        (observation.robot_state.joint_count > ST4VLA_MAX_JOINTS || !is_finite(observation.robot_state))) {
        return fail(ST4VLA_BAD_ARGUMENT, "a robot state has at most %d joints and finite numbers", ST4VLA_MAX_JOINTS);
    }
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        if (const st4vla_status status = check_view(observation.views[i]); status != ST4VLA_OK) {
            return status;
        }
    }
    if (frame_bytes(observation) > UINT32_MAX) {
        return fail(ST4VLA_BAD_ARGUMENT, "a message of more than 4 GiB");
    }
    return ST4VLA_OK;
}

std::size_t frame_bytes(const st4vla_observation &observation) noexcept
{
    std::size_t end = head_bytes(observation);
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        end = aligned(end) + observation.views[i].bytes;
    }
    return end;
}

void write_observation(const st4vla_observation &observation, void *frame, std::size_t size) noexcept
{
    Writer writer(frame);
    writer.header(ST4VLA_KIND_OBSERVATION, size, observation.sequence, observation.sent_ns);
    writer.record(st4vla_wire_observation{
        observation.seed, observation.deadline_ns, observation.held_chunk_id, observation.held_received_ns,
        observation.instruction_bytes, observation.flags, ST4VLA_INSTRUCTION_UTF8,
        static_cast<uint16_t>(observation.view_count), 0});
    if ((observation.flags & ST4VLA_FLAG_ROBOT_STATE) != 0) {
        st4vla_wire_robot_state state = observation.robot_state;
        state.reserved = 0;
        writer.record(state);
    }
    std::size_t end = head_bytes(observation);
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        const st4vla_view &view = observation.views[i];
        const std::size_t start = aligned(end);
        st4vla_wire_view row{view.capture_ns, static_cast<uint32_t>(start), static_cast<uint32_t>(view.bytes),
                             view.height,     view.width,                   view.encoding, 0, {}};
        std::memcpy(row.name, view.name, strnlen(view.name, sizeof row.name));
        writer.record(row);
        end = start + view.bytes;
    }
    writer.bytes(observation.instruction, observation.instruction_bytes);
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        writer.zeros_until(aligned(writer.offset()));
        writer.bytes(observation.views[i].data, observation.views[i].bytes);
    }
    writer.finish();
}

}  // namespace st4vla

namespace {

/// Say how long a frame is; whether the caller's memory holds it.
st4vla_status fit(std::size_t needed, const void *frame, std::size_t capacity, std::size_t *size)
{
    *size = needed;
    return frame != nullptr && needed <= capacity ? ST4VLA_OK : ST4VLA_TOO_SMALL;
}

st4vla_status encode_bare(st4vla_kind kind, uint64_t sequence, int64_t sent_ns, void *frame, size_t capacity,
                          size_t *size)
{
    if (size == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    const st4vla_status status = fit(sizeof(st4vla_wire_header), frame, capacity, size);
    if (status == ST4VLA_OK) {
        st4vla::Writer writer(frame);
        writer.header(kind, *size, sequence, sent_ns);
        writer.finish();
    }
    return status;
}

}  // namespace

extern "C" {

st4vla_status st4vla_encode_hello(uint64_t sequence, int64_t sent_ns, void *frame, size_t capacity, size_t *size)
{
    return encode_bare(ST4VLA_KIND_HELLO, sequence, sent_ns, frame, capacity, size);
}

st4vla_status st4vla_encode_goodbye(uint64_t sequence, int64_t sent_ns, void *frame, size_t capacity, size_t *size)
{
    return encode_bare(ST4VLA_KIND_GOODBYE, sequence, sent_ns, frame, capacity, size);
}

st4vla_status st4vla_encode_observation(const st4vla_observation *observation, void *frame, size_t capacity,
                                        size_t *size)
{
    if (observation == nullptr || size == nullptr) {
        return st4vla::fail(ST4VLA_BAD_ARGUMENT, "NULL was given where an observation or a size is wanted");
    }
    st4vla_status status = st4vla::check_observation(*observation);
    if (status == ST4VLA_OK) {
        status = fit(st4vla::frame_bytes(*observation), frame, capacity, size);
    }
    if (status == ST4VLA_OK) {
        st4vla::write_observation(*observation, frame, *size);
    }
    return status;
}

st4vla_status st4vla_encode_chunk(const st4vla_chunk *chunk, const float *actions, void *frame, size_t capacity,
                                  size_t *size)
{
    if (chunk == nullptr || actions == nullptr || size == nullptr) {
        return st4vla::fail(ST4VLA_BAD_ARGUMENT, "NULL was given where a chunk, actions or a size is wanted");
    }
    st4vla_wire_action_chunk body = chunk->body;
    body.reserved = 0;
    const std::size_t count = std::size_t{body.horizon} * body.action_dim;
    if (count == 0 || !st4vla::all_finite(actions, count) || body.period_ns <= 0 ||
        body.gripper_index < ST4VLA_NO_GRIPPER || body.gripper_index >= body.action_dim ||
        body.representation < ST4VLA_ACTION_EE_DELTA || body.representation > ST4VLA_ACTION_JOINT_POSITION ||
        body.pace < ST4VLA_PACE_RUN || body.pace > ST4VLA_PACE_STOP) {
        return st4vla::fail(ST4VLA_BAD_ARGUMENT,
                            "chunk of %d x %d actions, gripper_index %d, period_ns %lld, representation %d, pace %d: "
                            "it needs at least one action, finite numbers, a gripper among them or -1, a positive "
                            "period, and a representation and a pace of wire.h",
                            body.horizon, body.action_dim, body.gripper_index, static_cast<long long>(body.period_ns),
                            body.representation, body.pace);
    }
    const std::size_t needed = sizeof(st4vla_wire_header) + sizeof body + count * sizeof *actions;
    const st4vla_status status = fit(needed, frame, capacity, size);
    if (status == ST4VLA_OK) {
        st4vla::Writer writer(frame);
        writer.header(ST4VLA_KIND_ACTION_CHUNK, needed, chunk->sequence, chunk->sent_ns);
        writer.record(body);
        writer.bytes(actions, count * sizeof *actions);
        writer.finish();
    }
    return status;
}

}  // extern "C"

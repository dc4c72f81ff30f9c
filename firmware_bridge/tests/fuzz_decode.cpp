// libFuzzer: bytes as a message, as they are and with a header that fits them, so that the records behind it are
// reached. What is decoded is read to its last byte, and what was decoded must encode to what decodes the same.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "st4vla/cameras.h"
#include "st4vla/crc32c.h"
#include "st4vla/message.h"

namespace {

void must(bool condition)
{
    if (!condition) {
        std::abort();
    }
}

unsigned sum(const void *bytes, std::size_t size)
{
    const auto *byte = static_cast<const unsigned char *>(bytes);
    unsigned total = 0;
    for (std::size_t i = 0; i < size; ++i) {
        total += byte[i];
    }
    return total;
}

void observation(const uint8_t *frame, std::size_t size)
{
    st4vla_observation read;
    if (st4vla_decode_observation(frame, size, &read) != ST4VLA_OK) {
        return;
    }
    volatile unsigned total = sum(read.instruction, read.instruction_bytes);
    for (uint32_t i = 0; i < read.view_count; ++i) {
        must(read.views[i].data >= frame && read.views[i].data + read.views[i].bytes <= frame + size);
        must(std::strlen(read.views[i].name) <= ST4VLA_MAX_VIEW_NAME_BYTES);
        total = total + sum(read.views[i].data, read.views[i].bytes);
    }
    std::size_t needed = 0;
    const st4vla_status status = st4vla_encode_observation(&read, nullptr, 0, &needed);
    // A sender is held to more than a receiver: it writes no flags and no joints that nobody knows.
    must(status == ST4VLA_TOO_SMALL || status == ST4VLA_BAD_ARGUMENT);
    if (status == ST4VLA_TOO_SMALL) {
        std::vector<uint8_t> written(needed);
        st4vla_observation again;
        must(st4vla_encode_observation(&read, written.data(), needed, &needed) == ST4VLA_OK);
        must(st4vla_decode_observation(written.data(), needed, &again) == ST4VLA_OK);
        must(again.seed == read.seed && again.view_count == read.view_count && again.sequence == read.sequence);
    }
}

void chunk(const uint8_t *frame, std::size_t size)
{
    static const auto read = std::make_unique<st4vla_chunk>();
    if (st4vla_decode_chunk(frame, size, read.get()) != ST4VLA_OK) {
        return;
    }
    const std::size_t count = std::size_t{read->body.horizon} * read->body.action_dim;
    must(count >= 1 && count <= ST4VLA_MAX_ACTIONS && read->body.period_ns > 0);
    for (std::size_t i = 0; i < count; ++i) {
        must(std::isfinite(read->actions[i]));
    }
    std::vector<uint8_t> written(size);
    std::size_t needed = 0;
    must(st4vla_encode_chunk(read.get(), read->actions, written.data(), size, &needed) == ST4VLA_OK && needed == size);
}

void answers(const uint8_t *frame, std::size_t size)
{
    st4vla_welcome welcome;
    st4vla_plan plan;
    st4vla_error_reply reply;
    st4vla_decode_plan(frame, size, &plan);
    if (st4vla_decode_welcome(frame, size, &welcome) == ST4VLA_OK) {
        must(welcome.body.view_count >= 1 && welcome.body.view_count <= ST4VLA_MAX_VIEWS);
    }
    if (st4vla_decode_error(frame, size, &reply) == ST4VLA_OK) {
        volatile unsigned total = sum(reply.text, reply.text_bytes);
        (void)total;
    }
}

void all(const uint8_t *frame, std::size_t size)
{
    st4vla_wire_header header;
    st4vla_decode_header(frame, size, &header);
    observation(frame, size);
    chunk(frame, size);
    answers(frame, size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, std::size_t size)
{
    all(data, size);
    uint16_t height, width;
    st4vla_jpeg_size(data, size, &height, &width);
    st4vla_wire_header header;
    if (size < sizeof header) {
        return 0;
    }
    // Memory of its own size, so that a byte beyond it is noticed.
    const auto frame = std::make_unique<uint8_t[]>(size);
    std::memcpy(frame.get(), data, size);
    std::memcpy(&header, data, sizeof header);
    header.magic = ST4VLA_MAGIC;
    header.version = ST4VLA_WIRE_VERSION;
    header.payload_bytes = static_cast<uint32_t>(size - sizeof header);
    std::memcpy(frame.get(), &header, sizeof header);
    header.crc32c = st4vla_message_checksum(frame.get(), size);
    std::memcpy(frame.get(), &header, sizeof header);
    all(frame.get(), size);
    return 0;
}

// What the runtime says, and what is remembered of it.
#include <algorithm>
#include <cstring>

#include "../wire/decode.h"
#include "link.h"

namespace st4vla {
namespace {

st4vla_counter counter_of(st4vla_status status)
{
    switch (status) {
    case ST4VLA_FOREIGN_MESSAGE:
        return ST4VLA_MESSAGES_FOREIGN;
    case ST4VLA_OTHER_WIRE:
        return ST4VLA_MESSAGES_OTHER_WIRE;
    case ST4VLA_TRUNCATED_MESSAGE:
        return ST4VLA_MESSAGES_TRUNCATED;
    case ST4VLA_BAD_CHECKSUM:
        return ST4VLA_MESSAGES_BAD_CHECKSUM;
    case ST4VLA_TOO_SMALL:
        return ST4VLA_CHUNKS_REFUSED_LARGE;
    default:
        return ST4VLA_MESSAGES_MALFORMED;
    }
}

/// How much of a text is kept, no character cut in two.
std::size_t kept_bytes(const st4vla_error_reply &reply)
{
    std::size_t size = std::min<std::size_t>(reply.text_bytes, ST4VLA_MAX_ERROR_TEXT - 1);
    while (size < reply.text_bytes && size != 0 && (static_cast<unsigned char>(reply.text[size]) & 0xc0) == 0x80) {
        --size;
    }
    return size;
}

}  // namespace

void Link::read(const void *frame, std::size_t size, int64_t received_ns)
{
    st4vla_wire_header header;
    st4vla_status status = check_frame(frame, size, header);
    if (status != ST4VLA_OK) {
        counters_.add(counter_of(status));
        return;
    }
    switch (header.kind) {
    case ST4VLA_KIND_ACTION_CHUNK:
        read_chunk(frame, size, header, received_ns);
        break;
    case ST4VLA_KIND_WELCOME: {
        st4vla_welcome welcome{};
        status = read_welcome(frame, size, welcome);
        if (status == ST4VLA_OK) {
            counters_.add(ST4VLA_WELCOMES_RECEIVED);
            welcome.sequence = header.sequence;
            welcome.sent_ns = header.sent_ns;
            const std::lock_guard<std::mutex> lock(news_mutex_);
            known_.welcome = welcome;
            greets_ = false;
            news_.notify_all();
        }
        break;
    }
    case ST4VLA_KIND_PLAN: {
        st4vla_plan plan{};
        status = read_plan(frame, size, plan);
        if (status == ST4VLA_OK) {
            counters_.add(ST4VLA_PLANS_RECEIVED);
            plan.sequence = header.sequence;
            plan.sent_ns = header.sent_ns;
            const std::lock_guard<std::mutex> lock(news_mutex_);
            known_.plan = plan;
        }
        break;
    }
    case ST4VLA_KIND_ERROR:
        read_error(frame, size);
        break;
    default:
        counters_.add(ST4VLA_MESSAGES_UNEXPECTED);
    }
    if (status != ST4VLA_OK) {
        counters_.add(counter_of(status));
    }
}

void Link::read_chunk(const void *frame, std::size_t size, const st4vla_wire_header &header, int64_t received_ns)
{
    st4vla_chunk &chunk = newest_.back().chunk;
    const st4vla_status status = st4vla::read_chunk(frame, size, chunk);
    if (status != ST4VLA_OK) {
        counters_.add(counter_of(status));
        return;
    }
    chunk.sequence = header.sequence;
    chunk.sent_ns = header.sent_ns;
    chunk.received_ns = received_ns;
    const st4vla_counter verdict = intake_.judge(chunk, received_ns, sequence_.load());
    counters_.add(verdict);
    if (verdict != ST4VLA_CHUNKS_RECEIVED) {
        return;
    }
    if (intake_.restarted()) {
        counters_.add(ST4VLA_SERVER_RESTARTS);
    }
    learn(chunk);
    if (on_chunk_ != nullptr) {
        on_chunk_(context_, &chunk);
    }
    newest_.back().number = counters_.read(ST4VLA_CHUNKS_RECEIVED);
    newest_.publish();
    arrived_.ring();
}

void Link::learn(const st4vla_chunk &chunk)
{
    const st4vla_wire_action_chunk &body = chunk.body;
    const std::lock_guard<std::mutex> lock(news_mutex_);
    known_.held_chunk_id = body.chunk_id;
    known_.held_received_ns = chunk.received_ns;
    if (!known_.clock.add({body.observation_sent_ns, body.received_ns, chunk.sent_ns, chunk.received_ns})) {
        counters_.add(ST4VLA_CLOCK_SAMPLES_REFUSED);
    }
}

void Link::read_error(const void *frame, std::size_t size)
{
    st4vla_error_reply reply{};
    const st4vla_status status = st4vla::read_error(frame, size, reply);
    if (status != ST4VLA_OK) {
        counters_.add(counter_of(status));
        return;
    }
    counters_.add(ST4VLA_ERRORS_RECEIVED);
    const std::lock_guard<std::mutex> lock(news_mutex_);
    st4vla_server_error error{};
    error.count = counters_.read(ST4VLA_ERRORS_RECEIVED);
    error.observation_sequence = reply.observation_sequence;
    error.code = reply.code;
    std::memcpy(error.text, reply.text, kept_bytes(reply));
    known_.error = error;
}

}  // namespace st4vla

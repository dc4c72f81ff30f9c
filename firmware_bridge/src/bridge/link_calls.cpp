// What callers ask of the way to the runtime.
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "../detail.h"
#include "../wire/encode.h"
#include "link.h"

namespace st4vla {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;

/// Whole milliseconds until then, rounded up so that nobody asks again before it is time.
int left_ms(int64_t deadline_ns)
{
    const int64_t left_ns = std::max<int64_t>(deadline_ns - st4vla_monotonic_ns(), 0);
    return static_cast<int>((left_ns + kNsPerMs - 1) / kNsPerMs);
}

/// Bytes that an observation takes at most, once its raw pictures are JPEGs.
std::size_t bytes_at_most(const st4vla_observation &observation, bool encodes)
{
    std::size_t end = head_bytes(observation);
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        const st4vla_view &view = observation.views[i];
        end = aligned(end) + (encodes && view.encoding == ST4VLA_IMAGE_RGB8 ? JpegEncoder::bound(view) : view.bytes);
    }
    return end;
}

void give_back(void *, void *buffer) { static_cast<Buffer *>(buffer)->release(); }

}  // namespace

st4vla_status Link::send(const st4vla_observation &observation, uint64_t *sequence)
{
    if (const st4vla_status status = check_observation(observation); status != ST4VLA_OK) {
        return status;
    }
    for (uint32_t i = 0; i < observation.view_count; ++i) {
        if (observation.views[i].capture_ns > st4vla_monotonic_ns()) {
            return fail(ST4VLA_BAD_ARGUMENT, "view '%s' was captured in the future: capture_ns is of CLOCK_MONOTONIC",
                        observation.views[i].name);
        }
    }
    const std::lock_guard<std::mutex> lock(send_mutex_);
    Buffer *buffer = buffers_.take(bytes_at_most(observation, jpeg_quality_ != 0));
    counters_.set(ST4VLA_BUFFERS_GROWN, buffers_.grown());
    if (buffer == nullptr) {
        counters_.add(ST4VLA_FRAMES_BUSY);
        return ST4VLA_BUSY;
    }
    st4vla_observation filled = observation;
    std::size_t end = head_bytes(filled);
    for (uint32_t i = 0; i < filled.view_count; ++i) {
        st4vla_view &view = filled.views[i];
        end = aligned(end);
        if (jpeg_quality_ != 0 && view.encoding == ST4VLA_IMAGE_RGB8) {
            if (const st4vla_status status = encoder_.encode(view, buffer->bytes() + end, jpeg_quality_);
                status != ST4VLA_OK) {
                buffer->release();
                return status;
            }
        }
        end += view.bytes;
    }
    {
        const std::lock_guard<std::mutex> news(news_mutex_);
        filled.held_chunk_id = known_.held_chunk_id;
        filled.held_received_ns = known_.held_received_ns;
    }
    filled.sequence = ++sequence_;
    filled.sent_ns = st4vla_monotonic_ns();
    write_observation(filled, buffer->bytes(), end);
    zmq_msg_t message;
    if (zmq_msg_init_data(&message, buffer->bytes(), end, give_back, buffer) != 0) {
        buffer->release();
        return ST4VLA_NO_MEMORY;
    }
    post(message);
    if (sequence != nullptr) {
        *sequence = filled.sequence;
    }
    return ST4VLA_OK;
}

st4vla_status Link::hello(int timeout_ms, st4vla_welcome &welcome)
{
    std::unique_lock<std::mutex> lock(news_mutex_);
    const auto limit = std::chrono::milliseconds(timeout_ms);
    if (!news_.wait_for(lock, limit, [this] { return known_.welcome.has_value(); })) {
        return silence();
    }
    welcome = *known_.welcome;
    return ST4VLA_OK;
}

st4vla_status Link::silence() const
{
    if (!known_.connected && !known_.refused) {
        return ST4VLA_NO_SERVER;
    }
    // A server that does not know a key and one that has another key may both fall silent, or both hang up.
    return has_keys_ ? ST4VLA_NOT_LET_IN : known_.refused ? ST4VLA_KEYS_WANTED : ST4VLA_SILENT;
}

st4vla_status Link::receive(int timeout_ms, st4vla_chunk &chunk)
{
    const int64_t deadline_ns = st4vla_monotonic_ns() + timeout_ms * kNsPerMs;
    const std::lock_guard<std::mutex> lock(receive_mutex_);
    for (;;) {
        arrived_.silence();
        if (newest_.take()) {
            break;
        }
        const int wait_ms = left_ms(deadline_ns);
        if (wait_ms == 0) {
            return ST4VLA_TIMEOUT;
        }
        pollfd arrival = {arrived_.descriptor(), POLLIN, 0};
        poll(&arrival, 1, wait_ms);
    }
    const Arrived &newest = newest_.front();
    for (uint64_t passed = received_ + 1; passed < newest.number; ++passed) {
        counters_.add(ST4VLA_CHUNKS_SUPERSEDED);
    }
    received_ = newest.number;
    const std::size_t count = std::size_t{newest.chunk.body.horizon} * newest.chunk.body.action_dim;
    std::memcpy(&chunk, &newest.chunk, offsetof(st4vla_chunk, actions));
    std::copy_n(newest.chunk.actions, count, chunk.actions);
    return ST4VLA_OK;
}

std::optional<st4vla_clock_offset> Link::clock() const
{
    const std::lock_guard<std::mutex> lock(news_mutex_);
    return known_.clock.estimate();
}

std::optional<st4vla_server_error> Link::last_error() const
{
    const std::lock_guard<std::mutex> lock(news_mutex_);
    return known_.error;
}

std::optional<st4vla_plan> Link::last_plan() const
{
    const std::lock_guard<std::mutex> lock(news_mutex_);
    return known_.plan;
}

}  // namespace st4vla

// The bridge's C ABI: nothing is thrown across it.
#include "st4vla/bridge.h"

#include <array>
#include <ctime>
#include <new>
#include <string>
#include <system_error>

#include "../detail.h"
#include "../guard.h"
#include "key_files.h"
#include "link.h"

struct st4vla_bridge : st4vla::Link {
    using Link::Link;
};

namespace {

using st4vla::fail;

constexpr std::array<const char *, ST4VLA_COUNTER_COUNT> kCounterNames = {
    "frames_sent",
    "frames_superseded",
    "frames_busy",
    "buffers_grown",
    "chunks_received",
    "chunks_superseded",
    "chunks_refused_old",
    "chunks_refused_late",
    "chunks_refused_impossible",
    "chunks_refused_large",
    "messages_foreign",
    "messages_other_wire",
    "messages_truncated",
    "messages_bad_checksum",
    "messages_malformed",
    "messages_unexpected",
    "welcomes_received",
    "plans_received",
    "errors_received",
    "clock_samples_refused",
    "connections",
    "disconnections",
    "handshakes_failed",
    "server_restarts",
};

st4vla_status check(const st4vla_bridge_config &config)
{
    if (config.abi_version != ST4VLA_ABI_VERSION) {
        return ST4VLA_OTHER_ABI;
    }
    if (config.endpoint == nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "the configuration has no endpoint; one looks like tcp://127.0.0.1:5555");
    }
    if (config.jpeg_quality > 100) {
        return fail(ST4VLA_BAD_ARGUMENT, "jpeg_quality %u; 0 leaves pictures raw, 1 to 100 make JPEGs",
                    config.jpeg_quality);
    }
    if (config.max_frame_age_ns < 0) {
        return fail(ST4VLA_BAD_ARGUMENT, "max_frame_age_ns must be 0 (any age) or positive");
    }
    if ((config.secret_key_file == nullptr) != (config.server_key_file == nullptr)) {
        return fail(ST4VLA_BAD_ARGUMENT, "secret_key_file and server_key_file go together");
    }
    return ST4VLA_OK;
}

template <typename T>
st4vla_status give(const std::optional<T> &value, T *to)
{
    if (!value) {
        return ST4VLA_TIMEOUT;
    }
    *to = *value;
    return ST4VLA_OK;
}

}  // namespace

extern "C" {

int64_t st4vla_monotonic_ns(void)
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

st4vla_status st4vla_bridge_open(const st4vla_bridge_config *config, st4vla_bridge **bridge)
{
    if (config == nullptr || bridge == nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "NULL was given where a configuration or a place for the bridge is wanted");
    }
    *bridge = nullptr;
    return st4vla::guarded([&]() -> st4vla_status {
        if (const st4vla_status status = check(*config); status != ST4VLA_OK) {
            return status;
        }
        st4vla::ClientKeys keys;
        const bool has_keys = config->secret_key_file != nullptr;
        if (has_keys) {
            const st4vla_status status =
                st4vla::read_client_keys(config->secret_key_file, config->server_key_file, keys);
            if (status != ST4VLA_OK) {
                return status;
            }
        }
        auto opened = std::make_unique<st4vla_bridge>(*config);
        const st4vla_status status = opened->open(config->endpoint, has_keys ? &keys : nullptr);
        if (status == ST4VLA_OK) {
            *bridge = opened.release();
        }
        return status;
    });
}

void st4vla_bridge_close(st4vla_bridge *bridge) { delete bridge; }

st4vla_status st4vla_bridge_hello(st4vla_bridge *bridge, int timeout_ms, st4vla_welcome *welcome)
{
    if (bridge == nullptr || welcome == nullptr || timeout_ms < 0) {
        return ST4VLA_BAD_ARGUMENT;
    }
    return st4vla::guarded([&] { return bridge->hello(timeout_ms, *welcome); });
}

st4vla_status st4vla_bridge_send(st4vla_bridge *bridge, const st4vla_observation *observation, uint64_t *sequence)
{
    if (bridge == nullptr || observation == nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "NULL was given where a bridge or an observation is wanted");
    }
    return st4vla::guarded([&] { return bridge->send(*observation, sequence); });
}

st4vla_status st4vla_bridge_receive(st4vla_bridge *bridge, int timeout_ms, st4vla_chunk *chunk)
{
    if (bridge == nullptr || chunk == nullptr || timeout_ms < 0) {
        return ST4VLA_BAD_ARGUMENT;
    }
    return st4vla::guarded([&] { return bridge->receive(timeout_ms, *chunk); });
}

st4vla_status st4vla_bridge_clock(const st4vla_bridge *bridge, st4vla_clock_offset *offset)
{
    if (bridge == nullptr || offset == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    return st4vla::guarded([&] { return give(bridge->clock(), offset); });
}

st4vla_status st4vla_bridge_last_error(const st4vla_bridge *bridge, st4vla_server_error *error)
{
    if (bridge == nullptr || error == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    return st4vla::guarded([&] { return give(bridge->last_error(), error); });
}

st4vla_status st4vla_bridge_last_plan(const st4vla_bridge *bridge, st4vla_plan *plan)
{
    if (bridge == nullptr || plan == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    return st4vla::guarded([&] { return give(bridge->last_plan(), plan); });
}

const char *st4vla_counter_name(uint32_t counter)
{
    return counter < kCounterNames.size() ? kCounterNames[counter] : nullptr;
}

uint64_t st4vla_bridge_count(const st4vla_bridge *bridge, uint32_t counter)
{
    return bridge == nullptr || counter >= kCounterNames.size() ? 0 : bridge->count(counter);
}

}  // extern "C"

#include "st4vla/stream.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "../detail.h"
#include "../guard.h"
#include "../thread.h"

namespace {

using st4vla::fail;

/// How long it waits for pictures before it looks up.
constexpr int kWaitMs = 100;

bool is_instruction(const char *text)
{
    const std::size_t bytes = text == nullptr ? 0 : strnlen(text, ST4VLA_MAX_INSTRUCTION_BYTES + 1);
    return bytes >= 1 && bytes <= ST4VLA_MAX_INSTRUCTION_BYTES;
}

st4vla_status no_instruction()
{
    return fail(ST4VLA_BAD_ARGUMENT, "an instruction has 1 to %d bytes of UTF-8", ST4VLA_MAX_INSTRUCTION_BYTES);
}

/// What an arm measures as the wire has it.
st4vla_wire_robot_state on_the_wire(const st4vla_robot_state &measured)
{
    st4vla_wire_robot_state state{};
    state.capture_ns = measured.capture_ns;
    state.joint_count = std::min<uint32_t>(measured.joint_count, ST4VLA_MAX_JOINTS);
    std::copy_n(measured.joint_positions_rad, state.joint_count, state.joint_positions_rad);
    std::copy_n(measured.joint_velocities_rad_s, state.joint_count, state.joint_velocities_rad_s);
    std::copy_n(measured.base_T_ee, 16, state.base_T_ee);
    state.gripper_width_m = measured.gripper_width_m;
    return state;
}

}  // namespace

struct st4vla_stream {
    st4vla_stream(st4vla_bridge *to, st4vla_cameras *from, const st4vla_stream_config &given)
        : bridge(to), cameras(from), config(given), instruction(given.instruction)
    {
        thread = std::thread([this] { run(); });
    }

    ~st4vla_stream()
    {
        stopping.store(true);
        thread.join();
    }

    void run();
    st4vla_status send(const st4vla_view *views, uint32_t count, uint64_t seed);

    st4vla_bridge *const bridge;
    st4vla_cameras *const cameras;
    const st4vla_stream_config config;
    std::mutex lock;
    std::string instruction;
    std::atomic<bool> stopping{false};
    std::atomic<uint64_t> sent{0}, refused{0}, silences{0};
    std::atomic<uint32_t> last_status{ST4VLA_OK};
    std::thread thread;
};

void st4vla_stream::run()
{
    st4vla::prepare_thread("st4vla_stream");
    st4vla_view views[ST4VLA_MAX_VIEWS] = {};
    uint64_t seed = config.seed;
    while (!stopping.load(std::memory_order_relaxed)) {
        st4vla_status status = st4vla_cameras_next(cameras, kWaitMs, views);
        if (status == ST4VLA_OK) {
            const auto *end = std::find_if(views, views + ST4VLA_MAX_VIEWS, [](auto &view) { return view.name[0] == 0; });
            status = send(views, static_cast<uint32_t>(end - views), seed++);
            (status == ST4VLA_OK ? sent : refused).fetch_add(1, std::memory_order_relaxed);
        } else {
            silences.fetch_add(1, std::memory_order_relaxed);
        }
        if (status != ST4VLA_OK) {
            last_status.store(status, std::memory_order_relaxed);
        }
    }
}

st4vla_status st4vla_stream::send(const st4vla_view *views, uint32_t count, uint64_t seed)
{
    st4vla_observation observation{};
    observation.seed = seed;
    observation.deadline_ns = config.deadline_ns;
    observation.flags = config.flags;
    observation.view_count = count;
    std::copy_n(views, count, observation.views);
    st4vla_robot_state measured;
    if (config.control != nullptr && st4vla_control_state(config.control, &measured) == ST4VLA_CONTROL_OK) {
        observation.robot_state = on_the_wire(measured);
        observation.flags |= ST4VLA_FLAG_ROBOT_STATE;
    }
    const std::lock_guard<std::mutex> locked(lock);
    observation.instruction = instruction.data();
    observation.instruction_bytes = static_cast<uint32_t>(instruction.size());
    uint64_t sequence = 0;
    return st4vla_bridge_send(bridge, &observation, &sequence);
}

extern "C" {

st4vla_status st4vla_stream_start(st4vla_bridge *bridge, st4vla_cameras *cameras, const st4vla_stream_config *config,
                                  st4vla_stream **stream)
{
    if (stream == nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "a place for the stream is wanted");
    }
    *stream = nullptr;
    if (bridge == nullptr || cameras == nullptr || config == nullptr || config->deadline_ns < 0 ||
        (config->flags & ~ST4VLA_FLAG_WANTS_PLANS) != 0) {
        return fail(ST4VLA_BAD_ARGUMENT, "a bridge, cameras and a config are wanted; its deadline is 0 or more, and of "
                                         "the flags only ST4VLA_FLAG_WANTS_PLANS is its to set");
    }
    if (!is_instruction(config->instruction)) {
        return no_instruction();
    }
    return st4vla::guarded([&]() -> st4vla_status {
        *stream = new st4vla_stream(bridge, cameras, *config);
        return ST4VLA_OK;
    });
}

st4vla_status st4vla_stream_tell(st4vla_stream *stream, const char *instruction)
{
    if (stream == nullptr || !is_instruction(instruction)) {
        return no_instruction();
    }
    return st4vla::guarded([&]() -> st4vla_status {
        std::string told(instruction);
        const std::lock_guard<std::mutex> locked(stream->lock);
        stream->instruction.swap(told);
        return ST4VLA_OK;
    });
}

st4vla_status st4vla_stream_read(const st4vla_stream *stream, st4vla_stream_report *report)
{
    if (stream == nullptr || report == nullptr) {
        return fail(ST4VLA_BAD_ARGUMENT, "a stream is wanted, and a place for its report");
    }
    *report = {stream->sent.load(), stream->refused.load(), stream->silences.load(), stream->last_status.load(), 0};
    return ST4VLA_OK;
}

void st4vla_stream_stop(st4vla_stream *stream) { delete stream; }

void st4vla_stream_play(void *player, const st4vla_chunk *chunk)
{
    const std::size_t numbers = std::size_t{chunk->body.horizon} * chunk->body.action_dim;
    st4vla_player_put(static_cast<st4vla_player *>(player), &chunk->body, chunk->actions, numbers * sizeof(float));
}

}  // extern "C"

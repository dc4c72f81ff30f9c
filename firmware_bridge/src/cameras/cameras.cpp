// All cameras of a robot, and their C ABI.
#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "../detail.h"
#include "../guard.h"
#include "../wire/utf8.h"
#include "camera.h"
#include "st4vla/bridge.h"

struct st4vla_cameras {
    st4vla::Bell arrival;
    std::vector<std::unique_ptr<st4vla::Camera>> all;
    bool has_new = false;    ///< the first camera's picture was not given yet
    int64_t capture_ns = 0;  ///< of the first camera's newest picture
    int64_t half_period_ns = 0; ///< between that one and the one before
};

namespace {

using st4vla::fail;

constexpr int64_t kNsPerMs = 1'000'000;

st4vla_status check(const st4vla_camera_config &config)
{
    const std::size_t name = config.name == nullptr ? 0 : strnlen(config.name, ST4VLA_MAX_VIEW_NAME_BYTES + 1);
    if (name == 0 || name > ST4VLA_MAX_VIEW_NAME_BYTES || !st4vla::is_ascii(config.name, name)) {
        return fail(ST4VLA_BAD_ARGUMENT, "a camera's name has 1 to %d characters of ASCII", ST4VLA_MAX_VIEW_NAME_BYTES);
    }
    const bool has_size = config.height >= 1 && config.height <= ST4VLA_MAX_IMAGE_SIDE && config.width >= 1 &&
                          config.width <= ST4VLA_MAX_IMAGE_SIDE;
    // Beyond these nobody means what they say, and a period would be no number.
    const bool has_rate = config.rate_hz >= 0.01 && config.rate_hz <= 1000.0;
    switch (config.source) {
    case ST4VLA_SOURCE_V4L2:
        return config.path != nullptr && has_size && (config.rate_hz == 0.0 || has_rate)
                   ? ST4VLA_OK
                   : fail(ST4VLA_BAD_ARGUMENT, "camera '%s' needs a device, a size and a rate of 0 or 0.01 to 1000 Hz",
                          config.name);
    case ST4VLA_SOURCE_FOLDER:
        return config.path != nullptr && has_rate
                   ? ST4VLA_OK
                   : fail(ST4VLA_BAD_ARGUMENT, "camera '%s' needs a folder and a rate of 0.01 to 1000 Hz", config.name);
    case ST4VLA_SOURCE_PATTERN:
        return has_size && has_rate
                   ? ST4VLA_OK
                   : fail(ST4VLA_BAD_ARGUMENT, "camera '%s' needs a size and a rate of 0.01 to 1000 Hz", config.name);
    case ST4VLA_SOURCE_MEMORY:
        return config.path != nullptr ? ST4VLA_OK
                                      : fail(ST4VLA_BAD_ARGUMENT, "camera '%s' needs a frame memory's file", config.name);
    default:
        return fail(ST4VLA_BAD_ARGUMENT, "camera '%s' has source %u; 1 is V4L2, 2 a folder, 3 a pattern, 4 a memory",
                    config.name, config.source);
    }
}

std::unique_ptr<st4vla::Source> make(const st4vla_camera_config &config)
{
    switch (config.source) {
    case ST4VLA_SOURCE_V4L2:
        return st4vla::make_v4l2(config);
    case ST4VLA_SOURCE_FOLDER:
        return st4vla::make_folder(config);
    case ST4VLA_SOURCE_MEMORY:
        return st4vla::make_memory(config);
    default:
        return st4vla::make_pattern(config);
    }
}

/// Half of the longest period of a camera that others are waited for.
constexpr int64_t kMostHalfNs = 50 * kNsPerMs;

void take_all(st4vla_cameras &cameras)
{
    for (const auto &camera : cameras.all) {
        if (camera->take() && camera == cameras.all.front()) {
            const int64_t now_ns = camera->view().capture_ns;
            cameras.half_period_ns = std::clamp<int64_t>((now_ns - cameras.capture_ns) / 2, 0, kMostHalfNs);
            cameras.capture_ns = now_ns;
            cameras.has_new = true;
        }
    }
}

/// When the newest pictures should be given, as far as is known now: INT64_MAX if not before another one comes.
///
/// A camera whose next picture is nearer to the first one's than its last is waited for, half a period at most: an
/// observation is as old as its oldest picture.
int64_t due_ns(const st4vla_cameras &cameras)
{
    int64_t due_ns = cameras.capture_ns;
    for (const auto &camera : cameras.all) {
        if (!camera->has_picture()) {
            return INT64_MAX;
        }
        if (camera->view().capture_ns < cameras.capture_ns - cameras.half_period_ns) {
            due_ns = cameras.capture_ns + cameras.half_period_ns;
        }
    }
    return cameras.has_new ? due_ns : INT64_MAX;
}

}  // namespace

extern "C" {

st4vla_status st4vla_cameras_open(const st4vla_camera_config *configs, size_t count, st4vla_cameras **cameras)
{
    if (configs == nullptr || cameras == nullptr || count < 1 || count > ST4VLA_MAX_VIEWS) {
        return fail(ST4VLA_BAD_ARGUMENT, "1 to %d cameras are wanted, and a place for them", ST4VLA_MAX_VIEWS);
    }
    *cameras = nullptr;
    return st4vla::guarded([&]() -> st4vla_status {
        auto opened = std::make_unique<st4vla_cameras>();
        for (size_t i = 0; i < count; ++i) {
            if (const st4vla_status status = check(configs[i]); status != ST4VLA_OK) {
                return status;
            }
            opened->all.push_back(
                std::make_unique<st4vla::Camera>(configs[i].name, make(configs[i]), opened->arrival));
        }
        for (const auto &camera : opened->all) {
            if (const st4vla_status status = camera->start(); status != ST4VLA_OK) {
                return status;
            }
        }
        *cameras = opened.release();
        return ST4VLA_OK;
    });
}

st4vla_status st4vla_cameras_next(st4vla_cameras *cameras, int timeout_ms, st4vla_view *views)
{
    if (cameras == nullptr || views == nullptr || timeout_ms < 0) {
        return ST4VLA_BAD_ARGUMENT;
    }
    const int64_t deadline_ns = st4vla_monotonic_ns() + timeout_ms * kNsPerMs;
    for (;;) {
        cameras->arrival.silence();
        take_all(*cameras);
        const int64_t now_ns = st4vla_monotonic_ns(), wake_ns = std::min(due_ns(*cameras), deadline_ns);
        if (due_ns(*cameras) <= now_ns) {
            break;
        }
        if (deadline_ns <= now_ns) {
            const auto is_lost = [](const auto &camera) { return camera->is_lost(); };
            const bool any = std::any_of(cameras->all.begin(), cameras->all.end(), is_lost);
            return any ? ST4VLA_CAMERA_FAILED : ST4VLA_TIMEOUT;
        }
        pollfd arrival = {cameras->arrival.descriptor(), POLLIN, 0};
        poll(&arrival, 1, static_cast<int>((wake_ns - now_ns + kNsPerMs - 1) / kNsPerMs));
    }
    cameras->has_new = false;
    for (size_t i = 0; i < cameras->all.size(); ++i) {
        views[i] = cameras->all[i]->view();
    }
    return ST4VLA_OK;
}

st4vla_status st4vla_cameras_counts(const st4vla_cameras *cameras, size_t camera, st4vla_camera_counts *counts)
{
    if (cameras == nullptr || counts == nullptr || camera >= cameras->all.size()) {
        return ST4VLA_BAD_ARGUMENT;
    }
    *counts = cameras->all[camera]->counts();
    return ST4VLA_OK;
}

void st4vla_cameras_close(st4vla_cameras *cameras) { delete cameras; }

}  // extern "C"

// All cameras of a robot, and their C ABI.
#include <poll.h>

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

/// Take what is new; whether the first camera has something new and no other has nothing at all.
bool take_all(st4vla_cameras &cameras, bool &has_new)
{
    bool all_there = true;
    for (const auto &camera : cameras.all) {
        const bool is_new = camera->take();
        has_new |= is_new && camera == cameras.all.front();
        all_there &= camera->has_picture();
    }
    return has_new && all_there;
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
    bool has_new = false;
    for (;;) {
        cameras->arrival.silence();
        if (take_all(*cameras, has_new)) {
            break;
        }
        const int64_t left_ns = deadline_ns - st4vla_monotonic_ns();
        if (left_ns <= 0) {
            for (const auto &camera : cameras->all) {
                if (camera->is_lost()) {
                    return ST4VLA_CAMERA_FAILED;
                }
            }
            return ST4VLA_TIMEOUT;
        }
        pollfd arrival = {cameras->arrival.descriptor(), POLLIN, 0};
        poll(&arrival, 1, static_cast<int>((left_ns + kNsPerMs - 1) / kNsPerMs));
    }
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

// Where pictures come from, one after another.
#ifndef ST4VLA_CAMERAS_SOURCE_H
#define ST4VLA_CAMERAS_SOURCE_H

#include <cstdint>
#include <memory>
#include <vector>

#include "st4vla/cameras.h"

namespace st4vla {

/// One picture. Its memory is used again, and grows to the largest picture that was in it.
struct Picture {
    std::vector<uint8_t> data;
    int64_t capture_ns = 0;
    uint16_t height = 0;
    uint16_t width = 0;
    uint16_t encoding = 0;
};

/// What came of waiting for a picture.
enum class Grabbed {
    kPicture,
    kNothing, ///< none yet
    kDamaged, ///< one that is of no use
    kLost     ///< the source must be opened again
};

/// A camera, or what stands for one. Used by one thread.
class Source {
public:
    Source() = default;
    virtual ~Source() = default;
    Source(const Source &) = delete;
    Source &operator=(const Source &) = delete;

    /// Begin; may be called again after a picture was kLost. The detail says what is wrong.
    virtual st4vla_status open() = 0;

    /// Wait for the next picture, at most about 100 ms, and fill it in.
    virtual Grabbed grab(Picture &picture) = 0;
};

/// Keeps a rate: sleeps until the next picture is due.
class Pacer {
public:
    explicit Pacer(double rate_hz) : period_ns_(static_cast<int64_t>(1e9 / rate_hz)) {}

    /// Sleep until then, at most 100 ms; whether it is time now. One that is late does not hurry afterwards.
    bool wait();

private:
    int64_t period_ns_;
    int64_t due_ns_ = 0;
};

/// Longest that a source waits before its thread looks up, in milliseconds.
constexpr int kGrabTimeoutMs = 100;

std::unique_ptr<Source> make_folder(const st4vla_camera_config &config);
std::unique_ptr<Source> make_memory(const st4vla_camera_config &config);
std::unique_ptr<Source> make_pattern(const st4vla_camera_config &config);
std::unique_ptr<Source> make_v4l2(const st4vla_camera_config &config);

}  // namespace st4vla

#endif  // ST4VLA_CAMERAS_SOURCE_H

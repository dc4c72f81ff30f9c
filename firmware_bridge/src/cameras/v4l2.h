// What the operating system is asked for a V4L2 device, behind an interface: tests answer in a device's place.
#ifndef ST4VLA_CAMERAS_V4L2_H
#define ST4VLA_CAMERAS_V4L2_H

#include <cstddef>
#include <memory>

#include "source.h"

namespace st4vla {

/// Each as the system call of its name, errno included.
class V4l2Calls {
public:
    V4l2Calls() = default;
    virtual ~V4l2Calls() = default;
    V4l2Calls(const V4l2Calls &) = delete;
    V4l2Calls &operator=(const V4l2Calls &) = delete;

    virtual int open(const char *path) = 0;
    virtual void close(int descriptor) = 0;
    virtual int ioctl(int descriptor, unsigned long request, void *argument) = 0;
    virtual void *map(int descriptor, std::size_t length, long offset) = 0;
    virtual void unmap(void *address, std::size_t length) = 0;
    /// Whether there is something to read: 1, 0 after the timeout, -1 on an error.
    virtual int wait(int descriptor, int timeout_ms) = 0;
};

std::unique_ptr<V4l2Calls> system_v4l2_calls();

std::unique_ptr<Source> make_v4l2(const st4vla_camera_config &config, std::unique_ptr<V4l2Calls> calls);

}  // namespace st4vla

#endif  // ST4VLA_CAMERAS_V4L2_H

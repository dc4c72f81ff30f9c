#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "v4l2.h"

namespace st4vla {
namespace {

class SystemCalls : public V4l2Calls {
public:
    int open(const char *path) override { return ::open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); }

    void close(int descriptor) override { ::close(descriptor); }

    int ioctl(int descriptor, unsigned long request, void *argument) override
    {
        int result = 0;
        do {
            result = ::ioctl(descriptor, request, argument);
        } while (result < 0 && errno == EINTR);
        return result;
    }

    void *map(int descriptor, std::size_t length, long offset) override
    {
        return mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset);
    }

    void unmap(void *address, std::size_t length) override { munmap(address, length); }

    int wait(int descriptor, int timeout_ms) override
    {
        pollfd device = {descriptor, POLLIN, 0};
        const int ready = poll(&device, 1, timeout_ms);
        if (ready < 0) {
            return errno == EINTR ? 0 : -1;
        }
        return ready == 0 ? 0 : (device.revents & POLLIN) != 0 ? 1 : -1;
    }
};

}  // namespace

std::unique_ptr<V4l2Calls> system_v4l2_calls() { return std::make_unique<SystemCalls>(); }

}  // namespace st4vla

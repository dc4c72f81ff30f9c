// Work like that of cameras and of inference, for as long as it lives.
#ifndef ST4VLA_TOOL_LOAD_H
#define ST4VLA_TOOL_LOAD_H

#include <atomic>
#include <thread>
#include <vector>

namespace st4vla::tool {

/// One thread that encodes and checks pictures of 640 x 480 at 60 Hz, and one for each core that multiplies a matrix
/// too large for its caches.
class Load {
public:
    Load();
    ~Load();
    Load(const Load &) = delete;
    Load &operator=(const Load &) = delete;

private:
    void camera();
    void inference();

    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_LOAD_H

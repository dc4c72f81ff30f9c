#include "load.h"

#include <algorithm>
#include <chrono>

#include "st4vla/bridge.hpp"

namespace st4vla::tool {
namespace {

constexpr uint16_t kHeight = 480, kWidth = 640;
constexpr double kCameraHz = 60.0;
/// 16 MB of weights: more than the cache of a core, so that memory is busy too.
constexpr std::size_t kRows = 2048, kColumns = 2048;

}  // namespace

Load::Load()
{
    threads_.emplace_back([this] { camera(); });
    for (unsigned core = 0; core < std::max(std::thread::hardware_concurrency(), 1u); ++core) {
        threads_.emplace_back([this] { inference(); });
    }
}

Load::~Load()
{
    stop_.store(true);
    for (std::thread &thread : threads_) {
        thread.join();
    }
}

void Load::camera()
{
    // Nobody listens there: pictures are made, encoded and put into messages, and go no further.
    Bridge bridge([] {
        BridgeOptions options;
        options.endpoint = "tcp://127.0.0.1:9";
        options.jpeg_quality = 90;
        return options;
    }());
    Cameras cameras({{"load", "", ST4VLA_SOURCE_PATTERN, kHeight, kWidth, 0, kCameraHz}});
    while (!stop_.load()) {
        if (const auto *views = cameras.next(std::chrono::milliseconds(100))) {
            bridge.send(observe(*views, "load"));
        }
    }
}

void Load::inference()
{
    std::vector<float> weights(kRows * kColumns, 0.5f), in(kColumns, 1.0f), out(kRows);
    while (!stop_.load()) {
        for (std::size_t row = 0; row < kRows; ++row) {
            float sum = 0.0f;
            for (std::size_t column = 0; column < kColumns; ++column) {
                sum += weights[row * kColumns + column] * in[column];
            }
            out[row] = sum / static_cast<float>(kColumns);
        }
        std::swap_ranges(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(std::min(kRows, kColumns)), out.begin());
    }
}

}  // namespace st4vla::tool

#include "camera.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "../thread.h"
#include "st4vla/bridge.h"

namespace st4vla {
namespace {

/// How often a camera that was lost is looked for.
constexpr std::chrono::milliseconds kRetry{200};

}  // namespace

bool Pacer::wait()
{
    int64_t now_ns = st4vla_monotonic_ns();
    const int64_t wait_ns = std::min<int64_t>(due_ns_ - now_ns, kGrabTimeoutMs * int64_t{1'000'000});
    if (wait_ns > 0) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(wait_ns));
        now_ns = st4vla_monotonic_ns();
    }
    if (now_ns < due_ns_) {
        return false;
    }
    due_ns_ += period_ns_;
    if (due_ns_ < now_ns) {
        due_ns_ = now_ns + period_ns_;
    }
    return true;
}

Camera::Camera(const char *name, std::unique_ptr<Source> source, Bell &arrival)
    : name_(name), source_(std::move(source)), arrival_(arrival)
{
}

Camera::~Camera()
{
    stop_.store(true);
    if (thread_.joinable()) {
        thread_.join();
    }
}

st4vla_status Camera::start()
{
    const st4vla_status status = source_->open();
    if (status == ST4VLA_OK) {
        thread_ = std::thread([this] { run(); });
    }
    return status;
}

void Camera::run()
{
    prepare_thread("st4vla_camera");
    while (!stop_.load(std::memory_order_relaxed)) {
        Numbered &next = newest_.back();
        const Grabbed grabbed = source_->grab(next.picture);
        switch (grabbed) {
        case Grabbed::kPicture:
            lost_.store(false, std::memory_order_relaxed);
            next.number = frames_.fetch_add(1, std::memory_order_relaxed) + 1;
            newest_.publish();
            arrival_.ring();
            break;
        case Grabbed::kDamaged:
            damaged_.fetch_add(1, std::memory_order_relaxed);
            break;
        case Grabbed::kLost:
            reopen();
            break;
        case Grabbed::kNothing:
            break;
        }
    }
}

void Camera::reopen()
{
    lost_.store(true, std::memory_order_relaxed);
    failures_.fetch_add(1, std::memory_order_relaxed);
    do {
        std::this_thread::sleep_for(kRetry);
    } while (!stop_.load(std::memory_order_relaxed) && source_->open() != ST4VLA_OK);
}

bool Camera::take()
{
    if (!newest_.take()) {
        return false;
    }
    const uint64_t number = newest_.front().number;
    superseded_.fetch_add(number - taken_ - 1, std::memory_order_relaxed);
    taken_ = number;
    return true;
}

st4vla_view Camera::view() const
{
    const Picture &picture = newest_.front().picture;
    st4vla_view view{picture.capture_ns, picture.data.data(), picture.data.size(), picture.height,
                     picture.width,      picture.encoding,    {}};
    std::memcpy(view.name, name_.data(), std::min(name_.size(), sizeof view.name - 1));
    return view;
}

st4vla_camera_counts Camera::counts() const noexcept
{
    const auto read = [](const std::atomic<uint64_t> &count) { return count.load(std::memory_order_relaxed); };
    return {read(frames_), read(superseded_), read(damaged_), read(failures_)};
}

}  // namespace st4vla

// One camera in a thread of its own; whoever asks gets its newest picture.
#ifndef ST4VLA_CAMERAS_CAMERA_H
#define ST4VLA_CAMERAS_CAMERA_H

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "../bridge/bell.h"
#include "../player/slot.h"
#include "source.h"

namespace st4vla {

class Camera {
public:
    /// `arrival` is rung with each picture.
    Camera(const char *name, std::unique_ptr<Source> source, Bell &arrival);
    ~Camera();
    Camera(const Camera &) = delete;
    Camera &operator=(const Camera &) = delete;

    /// Open the source and start the thread; once.
    st4vla_status start();

    /// Take the newest picture if there is one that was not taken yet. Called by one thread.
    bool take();

    /// Whether any was taken, and the one that was taken last, valid until the next take.
    bool has_picture() const noexcept { return taken_ != 0; }
    st4vla_view view() const;

    /// Whether it gave pictures before and does no more.
    bool is_lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

    st4vla_camera_counts counts() const noexcept;

private:
    struct Numbered {
        Picture picture;
        uint64_t number = 0;
    };

    void run();
    void reopen();

    std::string name_;
    std::unique_ptr<Source> source_;
    Bell &arrival_;
    player::Slot<Numbered> newest_;
    uint64_t taken_ = 0;
    std::atomic<uint64_t> frames_{0}, superseded_{0}, damaged_{0}, failures_{0};
    std::atomic<bool> lost_{false}, stop_{false};
    std::thread thread_;
};

}  // namespace st4vla

#endif  // ST4VLA_CAMERAS_CAMERA_H

// The thread that opens and closes the gripper, because that takes seconds.
#ifndef ST4VLA_CONTROL_HAND_H
#define ST4VLA_CONTROL_HAND_H

#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "st4vla/control.h"

namespace st4vla::control {

/// Carries out the newest wish; one that a newer one replaced while the gripper moved is left out.
class Hand {
public:
    explicit Hand(const st4vla_robot &robot) noexcept : robot_(robot) { sem_init(&wishes_, 0, 0); }
    ~Hand();
    Hand(const Hand &) = delete;
    Hand &operator=(const Hand &) = delete;

    /// Begin; false where there can be no thread.
    bool start() noexcept;
    /// End the thread, after what it does now.
    void stop() noexcept;

    /// Wish for an event. For the control thread: never waits.
    void wish(st4vla_player_gripper event) noexcept;

    std::uint64_t events() const noexcept { return events_.load(std::memory_order_relaxed); }
    std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }
    /// What the gripper said when it failed last; only while the thread does not run.
    const char *text() const noexcept { return text_; }

private:
    void work() noexcept;

    const st4vla_robot robot_;
    sem_t wishes_{};
    std::atomic<int> wish_{ST4VLA_PLAYER_GRIPPER_NOTHING};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> events_{0}, failures_{0};
    char text_[ST4VLA_CONTROL_TEXT_BYTES] = {};
    std::thread thread_;
};

}  // namespace st4vla::control

#endif  // ST4VLA_CONTROL_HAND_H

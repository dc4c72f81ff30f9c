// One call a millisecond, by absolute time, and how well that was held.
#pragma once

#include <cstdint>

namespace virtual_franka {

/// CLOCK_MONOTONIC, nanoseconds.
int64_t monotonic_ns();
/// Whether the kernel lets this thread run before all others (SCHED_FIFO).
bool ask_for_priority();
/// Keep this thread on one core. Throws std::runtime_error where it may not run there.
void stay_on(int cpu);

class Pacer {
public:
    Pacer();

    /// Sleep until the next period. A period that was missed is not made up for: the robot's time stands still
    /// meanwhile, so that no client is blamed for commands that it had no time to send.
    void wait();

    uint64_t periods() const { return periods_; }
    uint64_t missed() const { return missed_; }
    int64_t latest_ns() const { return latest_ns_; }
    double seconds() const;

private:
    int64_t begun_ns_, due_ns_, woken_ns_;
    int64_t latest_ns_ = 0;
    uint64_t periods_ = 0, missed_ = 0;
};

}  // namespace virtual_franka

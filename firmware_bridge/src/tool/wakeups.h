// Whether a thread wakes up each millisecond when it is to, beside work.
#ifndef ST4VLA_TOOL_WAKEUPS_H
#define ST4VLA_TOOL_WAKEUPS_H

#include <cstdint>

namespace st4vla::tool {

struct Wakeups {
    int64_t p50_ns = 0;
    int64_t p999_ns = 0;
    int64_t max_ns = 0;
    uint64_t count = 0;
    uint64_t missed = 0;   ///< milliseconds that passed without a wake-up of their own
    int real_time_priority = 0; ///< of the thread that was woken; 0: the system allowed none
    bool memory_locked = false;
};

/// Wake each millisecond for so long, beside cameras' and inference's work on every core if `loaded`.
Wakeups measure_wakeups(double seconds, bool loaded);

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_WAKEUPS_H

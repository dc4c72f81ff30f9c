#include "wakeups.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include "load.h"
#include "quantiles.h"
#include "st4vla/bridge.h"

namespace st4vla::tool {
namespace {

constexpr int64_t kPeriodNs = 1'000'000, kNsPerS = 1'000'000'000;
/// Above the kernel's threaded interrupts of devices, below its own.
constexpr int kPriority = 80;

timespec as_timespec(int64_t time_ns) { return {time_ns / kNsPerS, time_ns % kNsPerS}; }

void wake_up(double seconds, Wakeups &found)
{
    const sched_param parameters = {kPriority};
    found.real_time_priority = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters) == 0 ? kPriority : 0;
    std::vector<int64_t> late_ns;
    late_ns.reserve(static_cast<std::size_t>(seconds * 1000.0) + 1);
    int64_t due_ns = st4vla_monotonic_ns() + kPeriodNs;
    const int64_t end_ns = due_ns + static_cast<int64_t>(seconds * 1e9);
    while (due_ns < end_ns) {
        const timespec due = as_timespec(due_ns);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) != 0) {
        }
        const int64_t late = st4vla_monotonic_ns() - due_ns;
        late_ns.push_back(late);
        const int64_t passed = late / kPeriodNs;
        found.missed += static_cast<uint64_t>(passed);
        due_ns += (passed + 1) * kPeriodNs;
    }
    found.count = late_ns.size();
    std::sort(late_ns.begin(), late_ns.end());
    found.p50_ns = quantile(late_ns, 0.5);
    found.p999_ns = quantile(late_ns, 0.999);
    found.max_ns = quantile(late_ns, 1.0);
}

}  // namespace

Wakeups measure_wakeups(double seconds, bool loaded)
{
    Wakeups found;
    const std::unique_ptr<Load> load = loaded ? std::make_unique<Load>() : nullptr;
    found.memory_locked = mlockall(MCL_CURRENT) == 0;
    // A thread of its own: the priority must not outlive the measurement.
    std::thread([&] { wake_up(seconds, found); }).join();
    munlockall();
    return found;
}

}  // namespace st4vla::tool

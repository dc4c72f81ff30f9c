#include "pacer.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <string>

namespace virtual_franka {
namespace {

constexpr int64_t kPeriodNs = 1000000, kSecondNs = 1000000000;
/// A client has at least this long to answer a state, even when the last one went out late.
constexpr int64_t kShortestNs = 600000;
/// Above what most threads that ask for it get, below the kernel's own.
constexpr int kPriority = 60;

}  // namespace

int64_t monotonic_ns()
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecondNs + now.tv_nsec;
}

bool ask_for_priority()
{
    sched_param parameters{};
    parameters.sched_priority = kPriority;
    const bool locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    return sched_setscheduler(0, SCHED_FIFO, &parameters) == 0 && locked;
}

void stay_on(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) {
        throw std::runtime_error("--cpu " + std::to_string(cpu) +
                                 ": this machine has no such core, or not for this process");
    }
}

Pacer::Pacer() : begun_ns_(monotonic_ns()), due_ns_(begun_ns_), woken_ns_(begun_ns_) {}

void Pacer::wait()
{
    due_ns_ = std::max(due_ns_ + kPeriodNs, woken_ns_ + kShortestNs);
    const timespec due = {due_ns_ / kSecondNs, due_ns_ % kSecondNs};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) == EINTR) {
    }
    woken_ns_ = monotonic_ns();
    const int64_t late = woken_ns_ - due_ns_;
    latest_ns_ = std::max(latest_ns_, late);
    ++periods_;
    if (late >= kPeriodNs) {
        missed_ += static_cast<uint64_t>(late / kPeriodNs);
        due_ns_ = woken_ns_;
    }
}

double Pacer::seconds() const { return static_cast<double>(woken_ns_ - begun_ns_) * 1e-9; }

}  // namespace virtual_franka

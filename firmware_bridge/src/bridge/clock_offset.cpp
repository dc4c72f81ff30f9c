// The algorithm of contracts/st4vla/contracts/clock.py.
#include "clock_offset.h"

#include <algorithm>

namespace st4vla {
namespace {

/// How far two clocks may drift apart within the samples that are kept: 100 parts in a million for ten seconds.
constexpr int64_t kMaxDriftNs = 1'000'000;
/// 36 years. No monotonic clock shows more, and no sum of four such times overflows.
constexpr int64_t kLongestNs = int64_t{1} << 60;

bool is_time(int64_t time_ns) { return time_ns >= -kLongestNs && time_ns <= kLongestNs; }

/// Half of a number, rounded down as Python does it.
int64_t halved(int64_t number) { return number >= 0 ? number / 2 : -((1 - number) / 2); }

}  // namespace

bool ClockOffsetEstimator::add(const Exchange &exchange) noexcept
{
    if (!is_time(exchange.sent_ns) || !is_time(exchange.received_ns) || !is_time(exchange.peer_received_ns) ||
        !is_time(exchange.peer_replied_ns) || exchange.received_ns < exchange.sent_ns ||
        exchange.peer_replied_ns < exchange.peer_received_ns) {
        return false;
    }
    const int64_t round_trip_ns =
        (exchange.received_ns - exchange.sent_ns) - (exchange.peer_replied_ns - exchange.peer_received_ns);
    if (round_trip_ns < 0) {
        return false;
    }
    const int64_t twice_ns =
        (exchange.peer_received_ns - exchange.sent_ns) + (exchange.peer_replied_ns - exchange.received_ns);
    const st4vla_clock_offset sample{halved(twice_ns), (round_trip_ns + 1) / 2};
    if (const auto believed = estimate()) {
        const int64_t apart_ns = std::max(sample.offset_ns, believed->offset_ns) -
                                 std::min(sample.offset_ns, believed->offset_ns);
        if (apart_ns > sample.error_bound_ns + believed->error_bound_ns + kMaxDriftNs) {
            count_ = next_ = 0;
        }
    }
    samples_[next_] = sample;
    next_ = (next_ + 1) % samples_.size();
    count_ = std::min(count_ + 1, samples_.size());
    return true;
}

std::optional<st4vla_clock_offset> ClockOffsetEstimator::estimate() const noexcept
{
    if (count_ == 0) {
        return std::nullopt;
    }
    const auto tighter = [](const st4vla_clock_offset &a, const st4vla_clock_offset &b) {
        return a.error_bound_ns < b.error_bound_ns;
    };
    return *std::min_element(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(count_), tighter);
}

}  // namespace st4vla

// The mean of the last N samples: what turns bounded acceleration into bounded jerk.
//
// If a sequence keeps within a convex set, so does its moving average; if its differences do, so do the average's. A
// velocity whose length is at most V and changes by at most A a second therefore leaves here with the same V and A, and
// with a jerk of at most 2 A / (N tick), because the mean acceleration exchanges one N-th of itself at each tick
// (Biagiotti and Melchiorri, "FIR filters for online trajectory planning with time- and frequency-domain
// specifications", 2012). The price is a delay of (N - 1) / 2 ticks.
#ifndef ST4VLA_PLAYER_AVERAGE_H
#define ST4VLA_PLAYER_AVERAGE_H

#include "player/vec.h"

namespace st4vla::player {

/// Samples that a mean can be of, at most.
constexpr int kMaxAverage = 128;

template <int D>
class Average {
public:
    /// Average over `count` samples, 1 to kMaxAverage, all of them 0 at first.
    void reset(int count) noexcept
    {
        count_ = count;
        newest_ = 0;
        std::fill(samples_, samples_ + count, Vec<D>{});
    }

    void push(const Vec<D> &value) noexcept
    {
        newest_ = newest_ + 1 == count_ ? 0 : newest_ + 1;
        samples_[newest_] = value;
    }

    /// Be the mean of samples that changed evenly, by `change` from each to the next; return the newest.
    Vec<D> ramp(const Vec<D> &mean, const Vec<D> &change) noexcept
    {
        for (int i = 0; i < count_; ++i) {
            samples_[i] = mean + change * (i - 0.5 * (count_ - 1));
        }
        newest_ = count_ - 1;
        return samples_[newest_];
    }

    /// Summed anew each time: a running sum would drift away over days.
    Vec<D> mean() const noexcept
    {
        Vec<D> sum{};
        for (int i = 0; i < count_; ++i) {
            sum = sum + samples_[i];
        }
        return sum * (1.0 / count_);
    }

    /// The sum of all means that follow if nothing but zeros is pushed from now on.
    Vec<D> pending() const noexcept
    {
        Vec<D> sum{};
        for (int age = 0, i = newest_; age < count_; ++age, i = i == 0 ? count_ - 1 : i - 1) {
            sum = sum + samples_[i] * (count_ - 1 - age);
        }
        return sum * (1.0 / count_);
    }

private:
    // What is in use lies together, the numbers before the samples.
    int count_ = 1, newest_ = 0;
    Vec<D> samples_[kMaxAverage] = {};
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_AVERAGE_H

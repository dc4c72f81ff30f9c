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
    Average() = default;
    Average(const Average &other) noexcept { *this = other; }
    /// Of the samples, only those in use are copied.
    Average &operator=(const Average &other) noexcept
    {
        if (this != &other) {
            count_ = other.count_;
            newest_ = other.newest_;
            exchanged_ = other.exchanged_;
            std::copy(other.samples_, other.samples_ + count_, samples_);
        }
        return *this;
    }

    /// Average over `count` samples, 1 to kMaxAverage, all of them `value` at first.
    void reset(int count, const Vec<D> &value) noexcept
    {
        count_ = count;
        newest_ = 0;
        exchanged_ = {};
        std::fill(samples_, samples_ + count, value);
    }

    void push(const Vec<D> &value) noexcept
    {
        newest_ = oldest();
        exchanged_ = value - samples_[newest_];
        samples_[newest_] = value;
    }

    /// The sample that would change the mean once more as the last one did.
    Vec<D> again() const noexcept { return samples_[oldest()] + exchanged_; }

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
    int oldest() const noexcept { return newest_ + 1 == count_ ? 0 : newest_ + 1; }

    Vec<D> samples_[kMaxAverage] = {};
    Vec<D> exchanged_{};
    int count_ = 1, newest_ = 0;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_AVERAGE_H

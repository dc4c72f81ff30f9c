// The clock estimate, held against what contracts/st4vla/contracts/clock.py gives for the same exchanges.
#include "bridge/clock_offset.h"

#include <cstdint>
#include <limits>

#include "check.h"

namespace {

using st4vla::ClockOffsetEstimator;

constexpr int64_t kLowest = std::numeric_limits<int64_t>::min(), kHighest = std::numeric_limits<int64_t>::max();

void shortest_round_trip_is_believed()
{
    ClockOffsetEstimator clock;
    CHECK(!clock.estimate());
    CHECK(clock.add({1000, 5600, 5700, 2000}));
    CHECK(clock.estimate()->offset_ns == 4150 && clock.estimate()->error_bound_ns == 450);
    CHECK(clock.add({3000, 7105, 7106, 3202}));
    CHECK(clock.estimate()->offset_ns == 4004 && clock.estimate()->error_bound_ns == 101);
    CHECK(clock.add({5000, 9000, 9001, 9999}));
    CHECK(clock.estimate()->offset_ns == 4004);
}

void halves_are_rounded_as_python_rounds_them()
{
    ClockOffsetEstimator clock;
    CHECK(clock.add({100, 50, 51, 104}));
    // ((50 - 100) + (51 - 104)) // 2 and (3 + 1) // 2.
    CHECK(clock.estimate()->offset_ns == -52 && clock.estimate()->error_bound_ns == 2);
}

void clock_that_steps_is_learnt_anew()
{
    ClockOffsetEstimator clock;
    CHECK(clock.add({1000, 5050, 5050, 1100}));
    CHECK(clock.add({2000, 1'007'000, 1'007'000, 3000}));
    CHECK(clock.estimate()->offset_ns == 4000);
    CHECK(clock.add({4000, 3'600'000'004'000, 3'600'000'004'000, 5000}));
    CHECK(clock.estimate()->offset_ns == 3'599'999'999'500);
}

void old_samples_are_forgotten()
{
    ClockOffsetEstimator clock;
    CHECK(clock.add({0, 105, 105, 10}));
    for (int64_t i = 1; i <= 64; ++i) {
        CHECK(clock.estimate()->error_bound_ns == 5);
        CHECK(clock.add({i * 1000, i * 1000 + 150, i * 1000 + 150, i * 1000 + 100}));
    }
    CHECK(clock.estimate()->error_bound_ns == 50);
}

void what_no_clocks_can_show_is_not_believed()
{
    ClockOffsetEstimator clock;
    CHECK(!clock.add({2000, 0, 0, 1000}));
    CHECK(!clock.add({1000, 500, 400, 2000}));
    CHECK(!clock.add({1000, 0, 2000, 1500}));
    CHECK(!clock.add({kLowest, 0, 0, kHighest}));
    CHECK(!clock.add({0, kHighest, kHighest, 10}));
    CHECK(!clock.add({0, kLowest, kHighest, 10}));
    CHECK(!clock.estimate());
}

}  // namespace

int main()
{
    shortest_round_trip_is_believed();
    halves_are_rounded_as_python_rounds_them();
    clock_that_steps_is_learnt_anew();
    old_samples_are_forgotten();
    what_no_clocks_can_show_is_not_believed();
    return 0;
}

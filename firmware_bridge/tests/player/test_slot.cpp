// The slot between two threads: the newest, whole, and never an older one after a newer.
#include "player/slot.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "check.h"

namespace {

constexpr int kNumbers = 64;

struct Value {
    std::uint64_t numbers[kNumbers];
};

void one_thread_sees_the_newest_once()
{
    st4vla::player::Slot<int> slot;
    CHECK(!slot.take());
    slot.back() = 1;
    slot.publish();
    slot.back() = 2;
    slot.publish();
    CHECK(slot.take() && slot.front() == 2);
    CHECK(!slot.take() && slot.front() == 2);
}

void what_is_kept_stays_until_something_newer_is()
{
    st4vla::player::Slot<int, true> slot;
    for (int i = 1; i <= 20; ++i) {
        const int before = slot.kept();
        slot.back() = i;
        slot.publish();
        slot.back() = -i;
        CHECK(slot.take() && slot.front() == i && slot.kept() == before);
        // Two are looked at, the first of two is let go of.
        if (i % 2 == 0) {
            slot.keep();
            CHECK(slot.kept() == i);
        }
    }
}

/// Give the other thread its turn in the middle of every 16th value, where both share a core.
void pause(std::uint64_t number)
{
    if (number % 16 == 0) {
        std::this_thread::yield();
    }
}

void a_reader_never_sees_half_a_value_or_an_older_one()
{
    constexpr auto kLeast = std::chrono::milliseconds(500);
    constexpr int kLeastTakes = 100;
    static st4vla::player::Slot<Value> slot;
    std::atomic<bool> over{false};
    std::thread writer([&over] {
        for (std::uint64_t i = 1; !over; ++i) {
            std::uint64_t *numbers = slot.back().numbers;
            std::fill(numbers, numbers + kNumbers / 2, i);
            pause(i);
            std::fill(numbers + kNumbers / 2, numbers + kNumbers, i);
            slot.publish();
        }
    });
    std::uint64_t last = 0;
    const auto began = std::chrono::steady_clock::now();
    for (int takes = 0; takes < kLeastTakes || std::chrono::steady_clock::now() - began < kLeast;) {
        if (!slot.take()) {
            std::this_thread::yield();
            continue;
        }
        const std::uint64_t *numbers = slot.front().numbers;
        CHECK(numbers[0] > last);
        last = numbers[0];
        pause(static_cast<std::uint64_t>(++takes));
        CHECK(std::all_of(numbers, numbers + kNumbers, [last](std::uint64_t number) { return number == last; }));
    }
    over = true;
    writer.join();
}

}  // namespace

int main()
{
    one_thread_sees_the_newest_once();
    what_is_kept_stays_until_something_newer_is();
    a_reader_never_sees_half_a_value_or_an_older_one();
    return 0;
}

// The slot between two threads: the newest, whole, and never an older one after a newer.
#include "player/slot.h"

#include <atomic>
#include <thread>

#include "check.h"

namespace {

struct Value {
    std::uint64_t numbers[64];
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

void a_reader_never_sees_half_a_value_or_an_older_one()
{
    // Enough takes that each thread is interrupted in the middle of a value many times.
    constexpr int kTakes = 100'000;
    static st4vla::player::Slot<Value> slot;
    std::atomic<bool> over{false};
    std::thread writer([&over] {
        for (std::uint64_t i = 1; !over; ++i) {
            for (auto &number : slot.back().numbers) {
                number = i;
            }
            slot.publish();
        }
    });
    std::uint64_t last = 0;
    for (int takes = 0; takes < kTakes;) {
        if (!slot.take()) {
            continue;
        }
        ++takes;
        const Value &value = slot.front();
        CHECK(value.numbers[0] > last);
        last = value.numbers[0];
        for (const auto number : value.numbers) {
            CHECK(number == last);
        }
    }
    over = true;
    writer.join();
}

}  // namespace

int main()
{
    one_thread_sees_the_newest_once();
    a_reader_never_sees_half_a_value_or_an_older_one();
    return 0;
}

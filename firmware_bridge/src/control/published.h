// A value that one thread publishes and any other may copy: the writer never waits, a reader that was overtaken tries again.
#ifndef ST4VLA_CONTROL_PUBLISHED_H
#define ST4VLA_CONTROL_PUBLISHED_H

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace st4vla::control {

/// A sequence lock (Boehm, "Can seqlocks get along with programming language memory models?", 2012). Its words are released
/// and acquired one by one: a reader that sees one of a newer value also sees that the count has moved on.
template <typename T>
class Published {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0);

public:
    void put(const T &value) noexcept
    {
        const std::uint64_t count = count_.load(std::memory_order_relaxed);
        count_.store(count + 1, std::memory_order_relaxed);
        for (std::size_t i = 0; i < kWords; ++i) {
            std::uint64_t word = 0;
            std::memcpy(&word, reinterpret_cast<const char *>(&value) + i * sizeof word, sizeof word);
            words_[i].store(word, std::memory_order_release);
        }
        count_.store(count + 2, std::memory_order_release);
    }

    /// Copy the newest out; false if nothing was ever put.
    bool get(T &value) const noexcept
    {
        for (;;) {
            const std::uint64_t before = count_.load(std::memory_order_acquire);
            if (before == 0) {
                return false;
            }
            for (std::size_t i = 0; i < kWords; ++i) {
                const std::uint64_t word = words_[i].load(std::memory_order_acquire);
                std::memcpy(reinterpret_cast<char *>(&value) + i * sizeof word, &word, sizeof word);
            }
            if (before % 2 == 0 && count_.load(std::memory_order_relaxed) == before) {
                return true;
            }
        }
    }

private:
    static constexpr std::size_t kWords = sizeof(T) / sizeof(std::uint64_t);

    std::atomic<std::uint64_t> count_{0};
    std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

}  // namespace st4vla::control

#endif  // ST4VLA_CONTROL_PUBLISHED_H

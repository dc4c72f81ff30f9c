// CRC-32C eight bytes an instruction, three blocks side by side.
//
// The instruction gives its result after three cycles (SSE4.2) or two (ARMv8) and a new one may start in each: a single
// chain leaves the unit idle most of the time. This file is compiled for processors that have it.
#include <cstring>

#include "crc32c.h"
#include "crc32c_lanes.h"

#if defined(__aarch64__)
#include <arm_acle.h>
#else
#include <nmmintrin.h>
#endif

namespace st4vla::hardware {
namespace {

#if defined(__aarch64__)
inline uint32_t step(uint32_t crc, uint64_t eight) { return __crc32cd(crc, eight); }
inline uint32_t step(uint32_t crc, uint8_t one) { return __crc32cb(crc, one); }
#else
inline uint32_t step(uint32_t crc, uint64_t eight) { return static_cast<uint32_t>(_mm_crc32_u64(crc, eight)); }
inline uint32_t step(uint32_t crc, uint8_t one) { return _mm_crc32_u8(crc, one); }
#endif

/// Bytes of one block, for a picture and for what is left of it. No multiple of a page, or the three would meet in the
/// same lines of the cache.
constexpr std::size_t kLong = 2720, kShort = 256;
constexpr ZerosAppended kAfterLong{kLong}, kAfterShort{kShort};

/// Reads bytes, and writes them to another place or to none.
template <bool kCopies>
class Bytes {
public:
    Bytes(void *to, const void *from)
        : from_(static_cast<const unsigned char *>(from)), to_(static_cast<unsigned char *>(to))
    {
    }

    template <typename Word>
    Word take(std::size_t at) const
    {
        Word word;
        std::memcpy(&word, from_ + at, sizeof word);
        if constexpr (kCopies) {
            std::memcpy(to_ + at, &word, sizeof word);
        }
        return word;
    }

    void advance(std::size_t size)
    {
        from_ += size;
        to_ += kCopies ? size : 0;
    }

private:
    const unsigned char *from_;
    unsigned char *to_;
};

/// Three blocks after another, read side by side.
template <std::size_t kBlock, bool kCopies>
uint32_t three(uint32_t crc, const Bytes<kCopies> &bytes, const ZerosAppended &after)
{
    uint32_t second = 0, third = 0;
    for (std::size_t at = 0; at < kBlock; at += 8) {
        crc = step(crc, bytes.template take<uint64_t>(at));
        second = step(second, bytes.template take<uint64_t>(at + kBlock));
        third = step(third, bytes.template take<uint64_t>(at + 2 * kBlock));
    }
    return after(after(crc) ^ second) ^ third;
}

template <bool kCopies>
uint32_t run(uint32_t crc, Bytes<kCopies> bytes, std::size_t size)
{
    crc = ~crc;
    for (; size >= 3 * kLong; size -= 3 * kLong, bytes.advance(3 * kLong)) {
        crc = three<kLong>(crc, bytes, kAfterLong);
    }
    for (; size >= 3 * kShort; size -= 3 * kShort, bytes.advance(3 * kShort)) {
        crc = three<kShort>(crc, bytes, kAfterShort);
    }
    for (; size >= 8; size -= 8, bytes.advance(8)) {
        crc = step(crc, bytes.template take<uint64_t>(0));
    }
    for (; size != 0; --size, bytes.advance(1)) {
        crc = step(crc, bytes.template take<uint8_t>(0));
    }
    return ~crc;
}

}  // namespace

uint32_t crc32c(uint32_t crc, const void *data, std::size_t size) noexcept
{
    return run(crc, Bytes<false>(nullptr, data), size);
}

uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, std::size_t size) noexcept
{
    return run(crc, Bytes<true>(to, from), size);
}

}  // namespace st4vla::hardware

// Sixteen bytes at once: loading, interleaving and weighing them, in AVX2, in NEON and in plain C++.
#ifndef ST4VLA_RESIZE_LANES_H
#define ST4VLA_RESIZE_LANES_H

#include <cstdint>
#include <cstring>

#include "resize_passes.h"

#if defined(ST4VLA_RESIZE_PLAIN)
// Tests run the plain form on any processor.
#elif defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Kept inside each translation unit: the same names mean other instructions in another one.
namespace st4vla {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

#if defined(__AVX2__) && !defined(ST4VLA_RESIZE_PLAIN)

using Bytes = __m128i;

inline Bytes load(const uint8_t *from) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from)); }
inline void store(uint8_t *to, Bytes bytes) { _mm_storeu_si128(reinterpret_cast<__m128i *>(to), bytes); }
inline Bytes zip_low(Bytes a, Bytes b) { return _mm_unpacklo_epi8(a, b); }
inline Bytes zip_high(Bytes a, Bytes b) { return _mm_unpackhi_epi8(a, b); }

class Sums {
public:
    void add(const uint8_t *bytes, int32_t weight)
    {
        const __m256i by = _mm256_set1_epi32(weight);
        low_ = _mm256_add_epi32(low_, _mm256_mullo_epi32(widened(bytes), by));
        high_ = _mm256_add_epi32(high_, _mm256_mullo_epi32(widened(bytes + 8), by));
    }

    Bytes rounded() const
    {
        const __m256i shorts =
            _mm256_packs_epi32(_mm256_srai_epi32(low_, kWeightBits), _mm256_srai_epi32(high_, kWeightBits));
        // Packing works within halves of 128 bits; the middle two quarters change places.
        const __m256i ordered = _mm256_permute4x64_epi64(shorts, 0xd8);
        return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    }

private:
    static __m256i widened(const uint8_t *bytes)
    {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(bytes)));
    }

    __m256i low_ = _mm256_set1_epi32(kHalf);
    __m256i high_ = _mm256_set1_epi32(kHalf);
};

#elif defined(__aarch64__) && !defined(ST4VLA_RESIZE_PLAIN)

using Bytes = uint8x16_t;

inline Bytes load(const uint8_t *from) { return vld1q_u8(from); }
inline void store(uint8_t *to, Bytes bytes) { vst1q_u8(to, bytes); }
inline Bytes zip_low(Bytes a, Bytes b) { return vzip1q_u8(a, b); }
inline Bytes zip_high(Bytes a, Bytes b) { return vzip2q_u8(a, b); }

class Sums {
public:
    void add(const uint8_t *bytes, int32_t weight)
    {
        const uint8x16_t all = vld1q_u8(bytes);
        const uint16x8_t low = vmovl_u8(vget_low_u8(all)), high = vmovl_high_u8(all);
        sums_[0] = vmlaq_n_s32(sums_[0], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), weight);
        sums_[1] = vmlaq_n_s32(sums_[1], vreinterpretq_s32_u32(vmovl_high_u16(low)), weight);
        sums_[2] = vmlaq_n_s32(sums_[2], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), weight);
        sums_[3] = vmlaq_n_s32(sums_[3], vreinterpretq_s32_u32(vmovl_high_u16(high)), weight);
    }

    Bytes rounded() const
    {
        const uint16x8_t low = vcombine_u16(shifted(sums_[0]), shifted(sums_[1]));
        const uint16x8_t high = vcombine_u16(shifted(sums_[2]), shifted(sums_[3]));
        return vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
    }

private:
    static uint16x4_t shifted(int32x4_t sum) { return vqmovun_s32(vshrq_n_s32(sum, kWeightBits)); }

    int32x4_t sums_[4] = {vdupq_n_s32(kHalf), vdupq_n_s32(kHalf), vdupq_n_s32(kHalf), vdupq_n_s32(kHalf)};
};

#else

struct Bytes {
    uint8_t at[kLanes];
};

inline Bytes load(const uint8_t *from)
{
    Bytes bytes;
    std::memcpy(bytes.at, from, kLanes);
    return bytes;
}

inline void store(uint8_t *to, Bytes bytes) { std::memcpy(to, bytes.at, kLanes); }

inline Bytes zipped(const uint8_t *a, const uint8_t *b)
{
    Bytes out;
    for (int i = 0; i < kLanes / 2; ++i) {
        out.at[2 * i] = a[i];
        out.at[2 * i + 1] = b[i];
    }
    return out;
}

inline Bytes zip_low(Bytes a, Bytes b) { return zipped(a.at, b.at); }
inline Bytes zip_high(Bytes a, Bytes b) { return zipped(a.at + kLanes / 2, b.at + kLanes / 2); }

class Sums {
public:
    Sums()
    {
        for (int32_t &sum : sums_) {
            sum = kHalf;
        }
    }

    void add(const uint8_t *bytes, int32_t weight)
    {
        for (int i = 0; i < kLanes; ++i) {
            sums_[i] += bytes[i] * weight;
        }
    }

    Bytes rounded() const
    {
        Bytes out;
        for (int i = 0; i < kLanes; ++i) {
            const int32_t sum = sums_[i] >> kWeightBits;
            out.at[i] = static_cast<uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
        return out;
    }

private:
    int32_t sums_[kLanes];
};

#endif

}  // namespace
}  // namespace st4vla

#endif  // ST4VLA_RESIZE_LANES_H

// Compiled once for each instruction set; the build names all but the first. It uses no templates of the standard
// library: the linker could take their AVX2 form for all callers.
#include "resize_passes.h"

#include "resize_lanes.h"

#if !defined(ST4VLA_RESIZE_PASSES)
#define ST4VLA_RESIZE_PASSES kBasePasses
#endif

namespace st4vla {
namespace {

/// Three times kLanes bytes are weighed together: the channels of a pixel, or a stretch of a row.
constexpr int kStretch = kChannels * kLanes;
constexpr int kCacheLine = 64;

int smaller(int a, int b) { return a < b ? a : b; }

/// Make row i of 16 x 16 bytes its column i. Each round of interleaving moves the top bit of a byte's row number to
/// the bottom of its column number; after four, rows are columns.
inline void transpose(Bytes (&rows)[kLanes])
{
#pragma GCC unroll 4
    for (int round = 0; round < 4; ++round) {
        Bytes mixed[kLanes];
#pragma GCC unroll 8
        for (int i = 0; i < kLanes / 2; ++i) {
            mixed[2 * i] = zip_low(rows[i], rows[i + kLanes / 2]);
            mixed[2 * i + 1] = zip_high(rows[i], rows[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            rows[i] = mixed[i];
        }
    }
}

/// Weigh a stretch of `taps` rows.
inline void weigh(const uint8_t *first, std::ptrdiff_t stride, const int32_t *weights, int taps, uint8_t *out)
{
    Sums sums[kChannels];
    for (int tap = 0; tap < taps; ++tap, first += stride) {
#pragma GCC unroll 3
        for (int i = 0; i < kChannels; ++i) {
            sums[i].add(first + i * kLanes, weights[tap]);
        }
    }
#pragma GCC unroll 3
    for (int i = 0; i < kChannels; ++i) {
        store(out + i * kLanes, sums[i].rounded());
    }
}

/// Store byte x of each row as kLanes neighbours, so that one instruction weighs 16 rows.
void to_columns(const uint8_t *const (&rows)[kLanes], int bytes, uint8_t *columns)
{
    int x = 0;
    for (; x + kLanes <= bytes; x += kLanes) {
        Bytes block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            block[i] = load(rows[i] + x);
        }
        transpose(block);
        for (int i = 0; i < kLanes; ++i) {
            store(columns + (x + i) * kLanes, block[i]);
        }
    }
    for (; x < bytes; ++x) {
        for (int i = 0; i < kLanes; ++i) {
            columns[x * kLanes + i] = rows[i][x];
        }
    }
}

/// The way back, for the first `count` rows.
void to_rows(const uint8_t *columns, int bytes, Target out, int count)
{
    int x = 0;
    for (; x + kLanes <= bytes; x += kLanes) {
        Bytes block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            block[i] = load(columns + (x + i) * kLanes);
        }
        transpose(block);
        for (int i = 0; i < count; ++i) {
            store(out.row(i) + x, block[i]);
        }
    }
    for (; x < bytes; ++x) {
        for (int i = 0; i < count; ++i) {
            out.row(i)[x] = columns[x * kLanes + i];
        }
    }
}

void across(const Axis &axis, Source in, int rows, Target out, uint8_t *columns, uint8_t *squeezed)
{
    for (int y = 0; y < rows; y += kLanes) {
        const int count = smaller(kLanes, rows - y);
        const uint8_t *block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
            // Past the last row there is nothing to read; what stands in for it is not stored.
            block[i] = in.row(y + smaller(i, count - 1));
        }
        to_columns(block, axis.in * kChannels, columns);
        const int ahead = smaller(kLanes, rows - y - kLanes);
        int asked = -1;
        for (int o = 0; o < axis.out; ++o) {
            // Reading 16 rows at once is more than processors foresee: ask for the next ones while these are weighed.
            const int line = axis.first[o] * kChannels / kCacheLine;
            for (int i = 0; line != asked && i < ahead; ++i) {
                __builtin_prefetch(in.row(y + kLanes + i) + line * kCacheLine);
            }
            asked = line;
            const uint8_t *first = columns + static_cast<std::ptrdiff_t>(axis.first[o]) * kStretch;
            const int32_t *weights = axis.weights + static_cast<std::ptrdiff_t>(o) * axis.taps;
            weigh(first, kStretch, weights, axis.taps, squeezed + static_cast<std::ptrdiff_t>(o) * kStretch);
        }
        to_rows(squeezed, axis.out * kChannels, {out.row(y), out.stride}, count);
    }
}

void down(const Axis &axis, Source in, int bytes, Target out)
{
    for (int o = 0; o < axis.out; ++o) {
        const int32_t *weights = axis.weights + static_cast<std::ptrdiff_t>(o) * axis.taps;
        const uint8_t *first = in.row(axis.first[o]);
        uint8_t *row = out.row(o);
        if (bytes >= kStretch) {
            for (int x = 0; x < bytes; x += kStretch) {
                // The last stretch ends with the row and computes some bytes again.
                const int at = smaller(x, bytes - kStretch);
                weigh(first + at, in.stride, weights, axis.taps, row + at);
            }
            continue;
        }
        for (int x = 0; x < bytes; ++x) {
            int32_t sum = kHalf;
            for (int tap = 0; tap < axis.taps; ++tap) {
                sum += first[tap * in.stride + x] * weights[tap];
            }
            sum >>= kWeightBits;
            row[x] = static_cast<uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
    }
}

}  // namespace

const Passes ST4VLA_RESIZE_PASSES = {across, down};

}  // namespace st4vla

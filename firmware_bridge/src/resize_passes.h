// The two passes of a resize, made once for each instruction set that a processor may have.
#ifndef ST4VLA_RESIZE_PASSES_H
#define ST4VLA_RESIZE_PASSES_H

#include <cstddef>
#include <cstdint>

namespace st4vla {

constexpr int kChannels = 3;
/// Bytes that are computed at once.
constexpr int kLanes = 16;
/// Fractional bits of a weight.
constexpr int kWeightBits = 22;

/// One axis: output pixel `o` is the sum of `taps` input pixels from `first[o]` on, weighed with `weights[o * taps]`
/// and following. `first[o] + taps` is never past the end.
struct Axis {
    int in;
    int out;
    int taps;
    const int32_t *first;
    const int32_t *weights;
};

struct Source {
    const uint8_t *pixels;
    std::ptrdiff_t stride;

    const uint8_t *row(std::ptrdiff_t y) const { return pixels + y * stride; }
};

struct Target {
    uint8_t *pixels;
    std::ptrdiff_t stride;

    uint8_t *row(std::ptrdiff_t y) const { return pixels + y * stride; }
};

struct Passes {
    /// Resize each row. `columns` and `squeezed` hold kLanes bytes for each byte of an input and an output row.
    void (*across)(const Axis &axis, Source in, int rows, Target out, uint8_t *columns, uint8_t *squeezed);
    /// Resize each column of rows of `bytes` bytes.
    void (*down)(const Axis &axis, Source in, int bytes, Target out);
};

/// For what the compiler was told of the processor: NEON on aarch64, plain C++ on the others.
extern const Passes kBasePasses;
/// For x86 with AVX2; exists on x86 only.
extern const Passes kAvx2Passes;

}  // namespace st4vla

#endif  // ST4VLA_RESIZE_PASSES_H

// Weights of a resize, and its C ABI.
#include "st4vla/resize.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "resize_passes.h"

namespace {

using st4vla::kChannels;
using st4vla::kLanes;

/// Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -0.5.
double cubic(double x)
{
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

int32_t fixed(double weight)
{
    const double scaled = weight * (1 << st4vla::kWeightBits);
    return static_cast<int32_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

class Weights {
public:
    Weights(int in, int out) : in_(in), out_(out), first_(static_cast<std::size_t>(out))
    {
        const double scale = static_cast<double>(in) / out;
        // Shrinking stretches the filter over all pixels that become one; enlarging leaves it as it is.
        const double stretch = std::max(scale, 1.0), support = 2.0 * stretch;
        std::vector<int> ends(first_.size());
        for (int o = 0; o < out; ++o) {
            const double centre = (o + 0.5) * scale;
            first_[o] = std::max(static_cast<int>(centre - support + 0.5), 0);
            ends[o] = std::min(static_cast<int>(centre + support + 0.5), in);
            taps_ = std::max(taps_, ends[o] - first_[o]);
        }
        weights_.assign(first_.size() * taps_, 0);
        std::vector<double> exact(taps_);
        for (int o = 0; o < out; ++o) {
            const double centre = (o + 0.5) * scale;
            const int begin = first_[o], count = ends[o] - begin;
            double sum = 0.0;
            for (int i = 0; i < count; ++i) {
                exact[i] = cubic((begin + i - centre + 0.5) * (1.0 / stretch));
                sum += exact[i];
            }
            // All pixels have as many taps; those that need fewer begin earlier if they must, with weights of 0.
            first_[o] = std::min(begin, in - taps_);
            int32_t *weights = &weights_[static_cast<std::size_t>(o) * taps_ + (begin - first_[o])];
            for (int i = 0; i < count; ++i) {
                weights[i] = fixed(sum == 0.0 ? exact[i] : exact[i] / sum);
            }
        }
    }

    bool changes() const { return in_ != out_; }
    st4vla::Axis axis() const { return {in_, out_, taps_, first_.data(), weights_.data()}; }

private:
    int in_, out_, taps_ = 0;
    std::vector<int32_t> first_, weights_;
};

const st4vla::Passes &passes()
{
#if defined(ST4VLA_RESIZE_AVX2)
    if (__builtin_cpu_supports("avx2")) {
        return st4vla::kAvx2Passes;
    }
#endif
    return st4vla::kBasePasses;
}

bool is_side(int side) { return side >= 1 && side <= ST4VLA_RESIZE_MAX_SIDE; }

}  // namespace

struct st4vla_resizer {
    st4vla_resizer(int in_height, int in_width, int out_height, int out_width)
        : across(in_width, out_width), down(in_height, out_height), height(in_height), out_bytes(out_width * kChannels)
    {
        if (across.changes()) {
            columns.resize(static_cast<std::size_t>(in_width) * kChannels * kLanes);
            squeezed.resize(static_cast<std::size_t>(out_width) * kChannels * kLanes);
        }
        if (across.changes() && down.changes()) {
            between.resize(static_cast<std::size_t>(in_height) * out_bytes);
        }
    }

    void run(st4vla::Source in, st4vla::Target out)
    {
        const st4vla::Passes &use = passes();
        if (across.changes()) {
            const st4vla::Target target = down.changes() ? st4vla::Target{between.data(), out_bytes} : out;
            use.across(across.axis(), in, height, target, columns.data(), squeezed.data());
            in = {target.pixels, target.stride};
        }
        if (down.changes()) {
            use.down(down.axis(), in, out_bytes, out);
        } else if (!across.changes()) {
            for (int y = 0; y < height; ++y) {
                std::copy_n(in.row(y), out_bytes, out.row(y));
            }
        }
    }

    Weights across, down;
    int height, out_bytes;
    std::vector<uint8_t> columns, squeezed, between;
};

extern "C" {

uint32_t st4vla_resize_abi_version(void) { return ST4VLA_RESIZE_ABI_VERSION; }

const char *st4vla_resize_message(st4vla_resize_status status)
{
    switch (status) {
    case ST4VLA_RESIZE_OK:
        return "no error";
    case ST4VLA_RESIZE_BAD_SIZE:
        return "a picture has 1 to 16384 rows and columns";
    case ST4VLA_RESIZE_BAD_POINTER:
        return "NULL was given where a picture or a resizer is wanted";
    case ST4VLA_RESIZE_NO_MEMORY:
        return "there is not enough memory for a picture of this size";
    }
    return "not a status of this library";
}

st4vla_resize_status st4vla_resizer_create(int in_height, int in_width, int out_height, int out_width,
                                           st4vla_resizer **resizer)
{
    if (resizer == nullptr) {
        return ST4VLA_RESIZE_BAD_POINTER;
    }
    *resizer = nullptr;
    if (!is_side(in_height) || !is_side(in_width) || !is_side(out_height) || !is_side(out_width)) {
        return ST4VLA_RESIZE_BAD_SIZE;
    }
    try {
        *resizer = new st4vla_resizer(in_height, in_width, out_height, out_width);
    } catch (const std::bad_alloc &) {
        return ST4VLA_RESIZE_NO_MEMORY;
    }
    return ST4VLA_RESIZE_OK;
}

st4vla_resize_status st4vla_resizer_run(st4vla_resizer *resizer, const uint8_t *pixels, ptrdiff_t stride, uint8_t *out,
                                        ptrdiff_t out_stride)
{
    if (resizer == nullptr || pixels == nullptr || out == nullptr) {
        return ST4VLA_RESIZE_BAD_POINTER;
    }
    resizer->run({pixels, stride}, {out, out_stride});
    return ST4VLA_RESIZE_OK;
}

void st4vla_resizer_destroy(st4vla_resizer *resizer) { delete resizer; }

}  // extern "C"

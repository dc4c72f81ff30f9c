// A moving picture for whoever has no camera at hand: every frame differs from the one before.
#include "source.h"
#include "st4vla/bridge.h"

namespace st4vla {
namespace {

class Pattern : public Source {
public:
    explicit Pattern(const st4vla_camera_config &config)
        : height_(static_cast<uint16_t>(config.height)),
          width_(static_cast<uint16_t>(config.width)),
          pacer_(config.rate_hz)
    {
    }

    st4vla_status open() override { return ST4VLA_OK; }

    Grabbed grab(Picture &picture) override
    {
        if (!pacer_.wait()) {
            return Grabbed::kNothing;
        }
        picture.capture_ns = st4vla_monotonic_ns();
        picture.height = height_;
        picture.width = width_;
        picture.encoding = ST4VLA_IMAGE_RGB8;
        picture.data.resize(std::size_t{3} * height_ * width_);
        uint8_t *pixel = picture.data.data();
        for (unsigned y = 0; y < height_; ++y) {
            for (unsigned x = 0; x < width_; ++x) {
                *pixel++ = static_cast<uint8_t>(x + frame_);
                *pixel++ = static_cast<uint8_t>(y + 2 * frame_);
                *pixel++ = static_cast<uint8_t>((x ^ y) + 3 * frame_);
            }
        }
        ++frame_;
        return Grabbed::kPicture;
    }

private:
    uint16_t height_, width_;
    Pacer pacer_;
    unsigned frame_ = 0;
};

}  // namespace

std::unique_ptr<Source> make_pattern(const st4vla_camera_config &config) { return std::make_unique<Pattern>(config); }

}  // namespace st4vla

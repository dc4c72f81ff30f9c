// Raw pictures to JPEG.
#ifndef ST4VLA_BRIDGE_JPEG_H
#define ST4VLA_BRIDGE_JPEG_H

#include <cstddef>
#include <memory>

#include "st4vla/message.h"

namespace st4vla {

/// Used by one thread at a time.
class JpegEncoder {
public:
    /// Most bytes that a picture takes.
    static std::size_t bound(const st4vla_view &view) noexcept;

    /// Encode a raw view into memory that holds `bound` bytes, and make the view that of the JPEG there.
    st4vla_status encode(st4vla_view &view, unsigned char *to, int quality);

private:
    struct Close {
        void operator()(void *handle) const noexcept;
    };

    std::unique_ptr<void, Close> handle_;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_JPEG_H

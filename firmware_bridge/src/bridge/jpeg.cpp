#include "jpeg.h"

#include <turbojpeg.h>

#include "../detail.h"

namespace st4vla {
namespace {

/// Half the resolution of colour, as cameras do it themselves.
constexpr int kSubsampling = TJSAMP_420;

}  // namespace

void JpegEncoder::Close::operator()(void *handle) const noexcept { tjDestroy(handle); }

std::size_t JpegEncoder::bound(const st4vla_view &view) noexcept
{
    return tjBufSize(view.width, view.height, kSubsampling);
}

st4vla_status JpegEncoder::encode(st4vla_view &view, unsigned char *to, int quality)
{
    if (handle_ == nullptr) {
        handle_.reset(tjInitCompress());
    }
    unsigned long bytes = bound(view);
    if (handle_ == nullptr || tjCompress2(handle_.get(), view.data, view.width, 0, view.height, TJPF_RGB, &to, &bytes,
                                          kSubsampling, quality, TJFLAG_NOREALLOC) != 0) {
        return fail(ST4VLA_BAD_JPEG, "view '%s' cannot be encoded: %s", view.name, tjGetErrorStr2(handle_.get()));
    }
    view.data = to;
    view.bytes = bytes;
    view.encoding = ST4VLA_IMAGE_JPEG;
    return ST4VLA_OK;
}

}  // namespace st4vla

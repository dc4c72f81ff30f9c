// Height and width of a JPEG, from the marker that begins its frame (ITU-T T.81, annex B).
#include "st4vla/cameras.h"
#include "st4vla/wire.h"

namespace {

constexpr uint8_t kStart = 0xd8, kEnd = 0xd9, kScan = 0xda, kTemporary = 0x01;
constexpr uint8_t kFirstRestart = 0xd0, kLastRestart = 0xd7;

unsigned big_endian(const uint8_t *bytes) { return unsigned{bytes[0]} << 8 | bytes[1]; }

/// SOF0 to SOF15 without the three markers between them that mean other things.
bool begins_frame(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

}  // namespace

extern "C" st4vla_status st4vla_jpeg_size(const uint8_t *data, size_t bytes, uint16_t *height, uint16_t *width)
{
    if (data == nullptr || height == nullptr || width == nullptr) {
        return ST4VLA_BAD_ARGUMENT;
    }
    if (bytes < 4 || data[0] != 0xff || data[1] != kStart) {
        return ST4VLA_BAD_JPEG;
    }
    size_t at = 2;
    while (at + 4 <= bytes) {
        if (data[at] != 0xff) {
            return ST4VLA_BAD_JPEG;
        }
        const uint8_t marker = data[at + 1];
        if (marker == 0xff) {
            ++at; // A marker may be filled up with more of these.
            continue;
        }
        if (marker == kTemporary || (marker >= kFirstRestart && marker <= kLastRestart)) {
            at += 2;
            continue;
        }
        const size_t length = big_endian(data + at + 2);
        if (marker == kStart || marker == kEnd || marker == kScan || length < 2 || at + 2 + length > bytes) {
            return ST4VLA_BAD_JPEG;
        }
        if (begins_frame(marker)) {
            if (length < 8) {
                return ST4VLA_BAD_JPEG;
            }
            *height = static_cast<uint16_t>(big_endian(data + at + 5));
            *width = static_cast<uint16_t>(big_endian(data + at + 7));
            const bool fits = *height >= 1 && *height <= ST4VLA_MAX_IMAGE_SIDE && *width >= 1 &&
                              *width <= ST4VLA_MAX_IMAGE_SIDE;
            return fits ? ST4VLA_OK : ST4VLA_BAD_JPEG;
        }
        at += 2 + length;
    }
    return ST4VLA_BAD_JPEG;
}

// Whether bytes are UTF-8, as Python and a JSON reader understand it.
#ifndef ST4VLA_WIRE_UTF8_H
#define ST4VLA_WIRE_UTF8_H

#include <cstddef>
#include <cstdint>

namespace st4vla {

/// Neither overlong forms, surrogates nor numbers beyond 10FFFF (The Unicode Standard, table 3-7).
inline bool is_utf8(const unsigned char *bytes, std::size_t size) noexcept
{
    std::size_t at = 0;
    while (at < size) {
        const unsigned char first = bytes[at++];
        if (first < 0x80) {
            continue;
        }
        const std::size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || more > size - at) {
            return false;
        }
        const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (bytes[at] < low || bytes[at] > high) {
            return false;
        }
        for (std::size_t i = 1; i < more; ++i) {
            if ((bytes[at + i] & 0xc0) != 0x80) {
                return false;
            }
        }
        at += more;
    }
    return true;
}

inline bool is_ascii(const char *bytes, std::size_t size) noexcept
{
    for (std::size_t i = 0; i < size; ++i) {
        if (static_cast<unsigned char>(bytes[i]) >= 0x80) {
            return false;
        }
    }
    return true;
}

/// Length of a text padded with zeros to `size` bytes, or -1 if one lies inside of it.
inline int padded_length(const char *bytes, std::size_t size) noexcept
{
    std::size_t length = 0;
    while (length < size && bytes[length] != '\0') {
        ++length;
    }
    for (std::size_t i = length; i < size; ++i) {
        if (bytes[i] != '\0') {
            return -1;
        }
    }
    return static_cast<int>(length);
}

}  // namespace st4vla

#endif  // ST4VLA_WIRE_UTF8_H

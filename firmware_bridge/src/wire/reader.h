// Records and bytes of a frame, taken in order, each checked against its end.
#ifndef ST4VLA_WIRE_READER_H
#define ST4VLA_WIRE_READER_H

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "st4vla/status.h"
#include "st4vla/wire.h"

namespace st4vla {

class Reader {
public:
    Reader(const void *frame, std::size_t size) noexcept
        : frame_(static_cast<const unsigned char *>(frame)), size_(size)
    {
    }

    template <typename Record>
    st4vla_status record(Record &record) noexcept
    {
        static_assert(std::is_trivially_copyable_v<Record>);
        const unsigned char *first = advance(sizeof record);
        if (first == nullptr) {
            return ST4VLA_TRUNCATED_MESSAGE;
        }
        std::memcpy(&record, first, sizeof record);
        return ST4VLA_OK;
    }

    /// Pass `size` bytes by and return the first, or nullptr if there are not so many.
    const unsigned char *advance(std::size_t size) noexcept
    {
        if (size > size_ - offset_) {
            return nullptr;
        }
        const unsigned char *first = frame_ + offset_;
        offset_ += size;
        return first;
    }

    st4vla_status end() const noexcept { return offset_ == size_ ? ST4VLA_OK : ST4VLA_MALFORMED_MESSAGE; }
    std::size_t offset() const noexcept { return offset_; }
    std::size_t size() const noexcept { return size_; }
    const unsigned char *frame() const noexcept { return frame_; }

private:
    const unsigned char *frame_;
    std::size_t size_;
    std::size_t offset_ = sizeof(st4vla_wire_header);
};

}  // namespace st4vla

#endif  // ST4VLA_WIRE_READER_H

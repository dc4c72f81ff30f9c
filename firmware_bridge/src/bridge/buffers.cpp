#include "buffers.h"

#include <cstdlib>
#include <new>

#include "../wire/encode.h"

namespace st4vla {

void Buffer::Free::operator()(unsigned char *bytes) const noexcept { std::free(bytes); }

Buffer *Buffers::take(std::size_t size)
{
    for (Buffer &buffer : buffers_) {
        if (buffer.taken_.load(std::memory_order_acquire)) {
            continue;
        }
        if (buffer.capacity_ < size) {
            const std::size_t capacity = aligned(size);
            auto *bytes = static_cast<unsigned char *>(std::aligned_alloc(ST4VLA_VIEW_ALIGNMENT, capacity));
            if (bytes == nullptr) {
                throw std::bad_alloc();
            }
            buffer.bytes_.reset(bytes);
            buffer.capacity_ = capacity;
            grown_.fetch_add(1, std::memory_order_relaxed);
        }
        buffer.taken_.store(true, std::memory_order_relaxed);
        return &buffer;
    }
    return nullptr;
}

}  // namespace st4vla

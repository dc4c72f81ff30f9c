#include "buffers.h"

namespace st4vla {

Buffer *Buffers::take(std::size_t size)
{
    for (Buffer &buffer : buffers_) {
        if (buffer.taken_.load(std::memory_order_acquire)) {
            continue;
        }
        const bool is_lent = buffer.room_.is_lent();
        const bool to_another = buffer.lent_to_ != reader_.load(std::memory_order_relaxed);
        if (is_lent && !to_another) {
            continue;
        }
        // What a reader has that is gone may be read by it still.
        if (is_lent || buffer.room_.size() < size) {
            buffer.lent_to_ = 0;
            buffer.begins_.store(nullptr, std::memory_order_relaxed);
            buffer.room_.make(size, shared_);
            buffer.begins_.store(buffer.bytes(), std::memory_order_relaxed);
            grown_.fetch_add(1, std::memory_order_relaxed);
        }
        buffer.taken_.store(true, std::memory_order_relaxed);
        return &buffer;
    }
    return nullptr;
}

std::optional<Loan> Buffers::lend(const void *bytes) noexcept
{
    for (unsigned index = 0; index < buffers_.size(); ++index) {
        Buffer &buffer = buffers_[index];
        // Whoever has the bytes of a buffer has taken it, and nobody else touches it meanwhile.
        if (bytes != nullptr && buffer.begins_.load(std::memory_order_relaxed) == bytes) {
            buffer.room_.set_lent(true);
            const bool is_known = buffer.lent_to_ == reader_.load(std::memory_order_relaxed);
            return Loan{index, is_known ? -1 : buffer.room_.descriptor()};
        }
    }
    return std::nullopt;
}

void Buffers::told(const Loan &loan, bool was_told) noexcept
{
    Buffer &buffer = buffers_[loan.index];
    if (was_told) {
        buffer.lent_to_ = reader_.load(std::memory_order_relaxed);
    } else {
        buffer.room_.set_lent(false);
    }
}

}  // namespace st4vla

// Frames in memory that another process reads: the layout of runtime/st4vla/runtime/local/note.py.
#ifndef ST4VLA_BRIDGE_SHARED_FRAMES_H
#define ST4VLA_BRIDGE_SHARED_FRAMES_H

#include <cstddef>
#include <cstdint>

namespace st4vla {

/// Says where a frame lies; sent as it is, little-endian.
struct FrameNote {
    char magic[4];
    uint16_t version;
    uint16_t reserved;
    uint64_t count;
    uint64_t slot;
    uint64_t size;
};
static_assert(sizeof(FrameNote) == 32);

/// A few slots, filled in turns. Nobody waits for the reader: it copies a frame out and looks at the slot's count
/// again, which is changed before the slot is overwritten.
class SharedFrames {
public:
    SharedFrames() = default;
    ~SharedFrames();
    SharedFrames(const SharedFrames &) = delete;
    SharedFrames &operator=(const SharedFrames &) = delete;

    /// Write a frame into the next slot; false if there is no memory for it. A frame that is larger than all before it
    /// gets a new memory, with a new descriptor.
    bool write(const void *frame, std::size_t size, FrameNote &note) noexcept;

    /// Of the memory; negative before the first frame.
    int descriptor() const noexcept { return descriptor_; }

    /// Which memory this is, from 1: a new one may have the descriptor of an older one.
    uint64_t memory() const noexcept { return memory_; }

private:
    bool grow(std::size_t size) noexcept;
    void release() noexcept;

    int descriptor_ = -1;
    unsigned char *bytes_ = nullptr;
    std::size_t slot_bytes_ = 0;
    uint64_t count_ = 0;
    uint64_t memory_ = 0;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_SHARED_FRAMES_H

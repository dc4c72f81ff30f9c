// Memory of one message, of this process alone or readable by others.
#ifndef ST4VLA_BRIDGE_ROOM_H
#define ST4VLA_BRIDGE_ROOM_H

#include <cstddef>

namespace st4vla {

/// A shared one begins with a byte that is 1 while its reader has it; the message follows where a picture may begin.
/// The reader's side of it is runtime/st4vla/runtime/local/memory.py.
class Room {
public:
    Room() = default;
    ~Room();
    Room(const Room &) = delete;
    Room &operator=(const Room &) = delete;

    /// Replace it by one of at least `size` bytes. Throws std::bad_alloc, and then there is none.
    void make(std::size_t size, bool shared);

    unsigned char *bytes() const noexcept { return bytes_; }
    std::size_t size() const noexcept { return size_; }

    /// Of a shared one; negative otherwise.
    int descriptor() const noexcept { return descriptor_; }

    /// Whether its reader has it. Called from any thread.
    bool is_lent() const noexcept;
    void set_lent(bool lent) noexcept;

private:
    void free() noexcept;

    unsigned char *bytes_ = nullptr;
    std::size_t size_ = 0;
    int descriptor_ = -1;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_ROOM_H

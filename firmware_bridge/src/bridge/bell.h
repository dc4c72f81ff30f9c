// A descriptor that one thread makes readable for another.
#ifndef ST4VLA_BRIDGE_BELL_H
#define ST4VLA_BRIDGE_BELL_H

namespace st4vla {

class Bell {
public:
    /// Throws std::system_error.
    Bell();
    ~Bell();
    Bell(const Bell &) = delete;
    Bell &operator=(const Bell &) = delete;

    void ring() noexcept;
    void silence() noexcept;
    int descriptor() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

}  // namespace st4vla

#endif  // ST4VLA_BRIDGE_BELL_H

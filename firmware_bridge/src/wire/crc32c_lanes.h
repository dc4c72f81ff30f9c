// CRCs of blocks that were read side by side, joined to the CRC of all of them in a row.
#ifndef ST4VLA_WIRE_CRC32C_LANES_H
#define ST4VLA_WIRE_CRC32C_LANES_H

#include <array>
#include <cstddef>
#include <cstdint>

namespace st4vla {

/// A register of CRC-32C after `bytes` more bytes of zero, as four look-ups.
///
/// To append zeros is linear over GF(2): what a register becomes is the exclusive-or of what its bits become.
class ZerosAppended {
public:
    constexpr explicit ZerosAppended(std::size_t bytes)
    {
        Columns sum{}, power{};
        for (std::size_t bit = 0; bit < 32; ++bit) {
            sum[bit] = uint32_t{1} << bit;
            power[bit] = bit == 0 ? kPolynomial : uint32_t{1} << (bit - 1);
        }
        // `power` appends 1, 2, 4, ... bits.
        for (std::size_t bits = 8 * bytes; bits != 0; bits >>= 1) {
            sum = (bits & 1u) != 0 ? product(power, sum) : sum;
            power = product(power, power);
        }
        for (std::size_t byte = 0; byte < 4; ++byte) {
            for (std::size_t value = 0; value < 256; ++value) {
                table_[byte][value] = image(sum, static_cast<uint32_t>(value << 8 * byte));
            }
        }
    }

    uint32_t operator()(uint32_t crc) const noexcept
    {
        return table_[0][crc & 0xffu] ^ table_[1][crc >> 8 & 0xffu] ^ table_[2][crc >> 16 & 0xffu] ^
               table_[3][crc >> 24];
    }

private:
    /// What becomes of each bit.
    using Columns = std::array<uint32_t, 32>;

    static constexpr uint32_t kPolynomial = 0x82f63b78;

    static constexpr uint32_t image(const Columns &columns, uint32_t crc)
    {
        uint32_t sum = 0;
        for (std::size_t bit = 0; crc != 0; crc >>= 1, ++bit) {
            sum ^= (crc & 1u) != 0 ? columns[bit] : 0u;
        }
        return sum;
    }

    static constexpr Columns product(const Columns &after, const Columns &before)
    {
        Columns both{};
        for (std::size_t bit = 0; bit < 32; ++bit) {
            both[bit] = image(after, before[bit]);
        }
        return both;
    }

    std::array<std::array<uint32_t, 256>, 4> table_{};
};

}  // namespace st4vla

#endif  // ST4VLA_WIRE_CRC32C_LANES_H

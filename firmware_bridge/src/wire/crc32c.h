// CRC-32C by the processor's own instructions where it has them.
#ifndef ST4VLA_WIRE_CRC32C_H
#define ST4VLA_WIRE_CRC32C_H

#include <cstddef>
#include <cstdint>

namespace st4vla {

/// CRC-32C of `size` bytes that follow bytes of CRC `crc`; 0 where nothing came before.
uint32_t crc32c(uint32_t crc, const void *data, std::size_t size) noexcept;

/// Copy bytes, and return the CRC-32C that they continue.
uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, std::size_t size) noexcept;

#if defined(ST4VLA_HARDWARE_CRC32C)
namespace hardware {
// Only on a processor that has the instructions.
uint32_t crc32c(uint32_t crc, const void *data, std::size_t size) noexcept;
uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, std::size_t size) noexcept;
}  // namespace hardware
#endif

}  // namespace st4vla

#endif  // ST4VLA_WIRE_CRC32C_H

// Which way CRC-32C is computed on this processor.
#include "crc32c.h"

#include <cstring>

#include "st4vla/crc32c.h"
#include "st4vla/message.h"

#if defined(ST4VLA_HARDWARE_CRC32C) && defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace st4vla {
namespace {

#if defined(ST4VLA_HARDWARE_CRC32C)
bool has_instructions()
{
#if defined(__aarch64__)
    static const bool has = (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
    return has;
#else
    return __builtin_cpu_supports("sse4.2") != 0;
#endif
}
#endif

}  // namespace

uint32_t crc32c(uint32_t crc, const void *data, std::size_t size) noexcept
{
#if defined(ST4VLA_HARDWARE_CRC32C)
    if (has_instructions()) {
        return hardware::crc32c(crc, data, size);
    }
#endif
    return st4vla_crc32c(crc, data, size);
}

uint32_t copy_crc32c(uint32_t crc, void *to, const void *from, std::size_t size) noexcept
{
#if defined(ST4VLA_HARDWARE_CRC32C)
    if (has_instructions()) {
        return hardware::copy_crc32c(crc, to, from, size);
    }
#endif
    std::memcpy(to, from, size);
    return st4vla_crc32c(crc, from, size);
}

}  // namespace st4vla

extern "C" uint32_t st4vla_fast_crc32c(uint32_t crc, const void *data, size_t size)
{
    return st4vla::crc32c(crc, data, size);
}

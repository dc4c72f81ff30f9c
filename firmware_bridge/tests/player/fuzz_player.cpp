// libFuzzer's entry: chunks with NaN, infinities, reversed time and huge steps. A setpoint that breaks a bound aborts.
#include "player/mischief.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    st4vla::player::play_mischief(data, size);
    return 0;
}

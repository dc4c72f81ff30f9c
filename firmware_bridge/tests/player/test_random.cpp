// Random mischief, the same each time: no setpoint breaks a bound. An argument asks for another number of rounds.
#include <random>

#include "player/mischief.h"

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 400;
    CHECK(rounds > 0);
    std::mt19937_64 random(20251125);
    std::vector<std::uint8_t> bytes(1500);
    for (int round = 0; round < rounds; ++round) {
        for (auto &byte : bytes) {
            byte = static_cast<std::uint8_t>(random());
        }
        // Each kind of config in turn.
        bytes[0] = static_cast<std::uint8_t>(round);
        st4vla::player::play_mischief(bytes.data(), bytes.size());
    }
    return 0;
}

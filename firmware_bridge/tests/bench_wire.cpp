// What the wire costs: checksums and copies, an observation of two views, a chunk. Medians over many turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#include "st4vla/bridge.h"
#include "st4vla/crc32c.h"
#include "wire/crc32c.h"

namespace {

constexpr int kTurns = 400, kSide = 224;

template <typename Call>
double median_us(Call call)
{
    std::vector<double> turns_us;
    for (int turn = 0; turn < kTurns; ++turn) {
        const auto began = std::chrono::steady_clock::now();
        call();
        turns_us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count());
    }
    std::nth_element(turns_us.begin(), turns_us.begin() + kTurns / 2, turns_us.end());
    return turns_us[kTurns / 2];
}

void checksums(std::size_t size)
{
    const std::vector<unsigned char> from(size, 7);
    std::vector<unsigned char> to(size);
    volatile uint32_t kept = 0;
    const double header_us = median_us([&] { kept = st4vla_crc32c(0, from.data(), size); });
    const double fast_us = median_us([&] { kept = st4vla::crc32c(0, from.data(), size); });
    const double two_us = median_us([&] {
        std::memcpy(to.data(), from.data(), size);
        kept = st4vla::crc32c(0, to.data(), size);
    });
    const double one_us = median_us([&] { kept = st4vla::copy_crc32c(0, to.data(), from.data(), size); });
    std::printf("%8zu bytes: table %.1f us, fast %.2f us (%.1f GB/s), copy then fast %.2f us, both in one %.2f us\n",
                size, header_us, fast_us, static_cast<double>(size) / fast_us / 1e3, two_us, one_us);
}

void messages()
{
    const std::vector<uint8_t> pixels(3 * kSide * kSide, 9);
    st4vla_observation observation{};
    observation.instruction = "lift the red cube";
    observation.instruction_bytes = 17;
    observation.view_count = 2;
    for (uint32_t i = 0; i < 2; ++i) {
        observation.views[i] = {1, pixels.data(), pixels.size(), kSide, kSide, ST4VLA_IMAGE_RGB8, "view"};
    }
    std::size_t size = 0;
    std::vector<uint8_t> frame(2 * pixels.size() + 4096);
    const double encode_us = median_us(
        [&] { CHECK(st4vla_encode_observation(&observation, frame.data(), frame.size(), &size) == ST4VLA_OK); });
    st4vla_observation read;
    const double decode_us =
        median_us([&] { CHECK(st4vla_decode_observation(frame.data(), size, &read) == ST4VLA_OK); });
    std::printf("observation of two raw views of %d: encode %.1f us, decode %.1f us\n", kSide, encode_us, decode_us);

    const auto chunk = std::make_unique<st4vla_chunk>();
    chunk->body.horizon = 16;
    chunk->body.action_dim = 7;
    chunk->body.gripper_index = 6;
    chunk->body.representation = ST4VLA_ACTION_EE_DELTA;
    chunk->body.pace = ST4VLA_PACE_RUN;
    chunk->body.period_ns = 50'000'000;
    CHECK(st4vla_encode_chunk(chunk.get(), chunk->actions, frame.data(), frame.size(), &size) == ST4VLA_OK);
    const double chunk_us =
        median_us([&] { CHECK(st4vla_decode_chunk(frame.data(), size, chunk.get()) == ST4VLA_OK); });
    std::printf("chunk of 16 x 7: decode %.2f us\n", chunk_us);
}

}  // namespace

int main()
{
    for (const std::size_t size : {std::size_t{600}, std::size_t{3 * kSide * kSide}, std::size_t{3 * 480 * 640}}) {
        checksums(size);
    }
    messages();
    return 0;
}

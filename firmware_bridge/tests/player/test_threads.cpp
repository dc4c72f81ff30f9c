// Three threads on one player: one puts, one steps, one stops, resumes and reads. For ThreadSanitizer above all.
#include <atomic>
#include <chrono>
#include <thread>

#include "player/rig.h"

int main()
{
    using namespace st4vla::player;

    const st4vla_player_config config = default_config();
    Rig rig(config);
    std::atomic<std::int64_t> clock_ns{rig.now_ns()};
    std::atomic<bool> over{false};
    std::atomic<int> resumes{0};

    std::thread network([&] {
        std::uint64_t sequence = 0;
        while (!over) {
            ++sequence;
            const float move = sequence % 2 == 0 ? 0.02F : -0.02F;
            CHECK(rig.put(made_chunk(config, sequence, clock_ns, 16, {move, move, 0, 0, 0, move, 1})) ==
                  ST4VLA_PLAYER_OK);
        }
    });
    std::thread operators([&] {
        while (!over) {
            st4vla_player_report report;
            CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
            resumes += st4vla_player_resume(rig.player) == ST4VLA_PLAYER_OK ? 1 : 0;
            if (report.pace <= ST4VLA_PACE_SLOW) {
                CHECK(st4vla_player_stop(rig.player) == ST4VLA_PLAYER_OK);
            }
        }
    });
    // The rig checks every setpoint against the bounds. It goes on until each thread has had its say, however the
    // machine shares its cores out; after a minute something hangs.
    st4vla_player_report report{};
    const auto began = std::chrono::steady_clock::now();
    while (report.stops < 10 || report.chunks_played < 50 || resumes < 10) {
        rig.run_ms(100);
        clock_ns = rig.now_ns();
        CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
        CHECK(std::chrono::steady_clock::now() - began < std::chrono::minutes(1));
        std::this_thread::yield();
    }
    over = true;
    network.join();
    operators.join();
    return 0;
}

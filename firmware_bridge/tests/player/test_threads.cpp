// Three threads on one player: one puts, one steps, one stops, resumes and reads. For ThreadSanitizer above all.
#include <atomic>
#include <thread>

#include "player/rig.h"

int main()
{
    using namespace st4vla::player;

    const st4vla_player_config config = default_config();
    Rig rig(config);
    std::atomic<std::int64_t> clock_ns{rig.now_ns()};
    std::atomic<bool> over{false};

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
        std::uint64_t resumes = 0;
        while (!over) {
            st4vla_player_report report;
            CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
            // Each stop is resumed from once, however often it is asked for.
            resumes += st4vla_player_resume(rig.player) == ST4VLA_PLAYER_OK;
            if (report.pace <= ST4VLA_PACE_SLOW) {
                CHECK(st4vla_player_stop(rig.player) == ST4VLA_PLAYER_OK);
            }
        }
        CHECK(resumes > 0);
    });
    // The rig checks every setpoint against the bounds.
    for (int ms = 0; ms < 20000; ++ms) {
        rig.step();
        clock_ns = rig.now_ns();
    }
    over = true;
    network.join();
    operators.join();
    st4vla_player_report report;
    CHECK(st4vla_player_read(rig.player, &report) == ST4VLA_PLAYER_OK);
    CHECK(report.steps == 20000 && report.chunks_played > 0 && report.stops > 0);
    return 0;
}

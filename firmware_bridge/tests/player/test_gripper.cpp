// Gripper events: each change once, when its action is due, and none on a hold.
#include "player/rig.h"

namespace {

using namespace st4vla::player;

std::vector<int> events_of(Rig &rig, int ms)
{
    std::vector<int> events;
    for (int i = 0; i < ms; ++i) {
        rig.step();
        if (rig.setpoint.gripper != ST4VLA_PLAYER_GRIPPER_NOTHING) {
            events.push_back(rig.setpoint.gripper);
        }
    }
    return events;
}

void each_change_is_told_once_when_it_is_due()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 4, {0, 0, 0, 0, 0, 0, 1});
    chunk.actions[7 * 2 + 6] = chunk.actions[7 * 3 + 6] = 0.0F;
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK && rig.setpoint.gripper_count == 0);
    CHECK((events_of(rig, 99) == std::vector<int>{ST4VLA_PLAYER_GRIPPER_OPEN}));
    CHECK(rig.setpoint.gripper_opening == 1.0);
    rig.step();
    CHECK(rig.setpoint.gripper == ST4VLA_PLAYER_GRIPPER_CLOSE && rig.setpoint.gripper_opening == 0.0);
    // The same command in the next chunk is no event.
    rig.put(2, 4, {0, 0, 0, 0, 0, 0, 0});
    CHECK(events_of(rig, 150).empty() && rig.setpoint.gripper_count == 2);
}

void a_command_that_wavers_is_no_event()
{
    Rig rig(default_config());
    for (std::uint64_t i = 1; i < 20; ++i) {
        rig.put(i, 4, {0, 0, 0, 0, 0, 0, i == 1 ? 0.9F : i % 2 == 0 ? 0.45F : 0.55F});
        rig.run_ms(20);
    }
    CHECK(rig.setpoint.gripper_count == 1 && is_near(rig.setpoint.gripper_opening, 0.55, 1e-6));
    rig.put(30, 4, {0, 0, 0, 0, 0, 0, -7.0F});
    rig.run_ms(1);
    CHECK(rig.setpoint.gripper == ST4VLA_PLAYER_GRIPPER_CLOSE && rig.setpoint.gripper_opening == 0.0);
}

void an_old_chunk_moves_no_gripper()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 16, {0, 0, 0, 0, 0, 0, 1});
    for (int k = 5; k < 16; ++k) {
        chunk.actions[7 * k + 6] = 0.0F;
    }
    CHECK(rig.put(chunk) == ST4VLA_PLAYER_OK);
    // It would close at 250 ms; from 200 ms on it is held.
    rig.run_ms(390);
    CHECK(rig.setpoint.gripper_count == 1 && rig.setpoint.gripper_opening == 1.0);
}

void a_gripper_may_be_any_dimension_or_none()
{
    st4vla_player_config config = default_config();
    config.gripper_index = 0;
    Rig first(config);
    first.put(1, 2, {0.0F, 0.01F, 0, 0, 0, 0, 0.02F}, 30 * kMs);
    first.run_ms(170);
    CHECK(first.setpoint.gripper_opening == 0.0 && is_near(first.x(), 0.52, 1e-6));
    config.gripper_index = ST4VLA_NO_GRIPPER;
    config.action_dim = 6;
    Rig none(config);
    none.put(1, 2, {0.01F, 0, 0, 0, 0, 0}, 30 * kMs);
    none.run_ms(170);
    CHECK(none.setpoint.gripper_opening == -1.0 && none.setpoint.gripper_count == 0);
    CHECK(is_near(none.x(), 0.52, 1e-6));
}

}  // namespace

int main()
{
    each_change_is_told_once_when_it_is_due();
    a_command_that_wavers_is_no_event();
    an_old_chunk_moves_no_gripper();
    a_gripper_may_be_any_dimension_or_none();
    return 0;
}

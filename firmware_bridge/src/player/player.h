// The player: takes the newest chunk, judges its age, and advances the setpoint a tick at a time.
#ifndef ST4VLA_PLAYER_PLAYER_H
#define ST4VLA_PLAYER_PLAYER_H

#include <atomic>

#include "player/arm.h"
#include "player/gripper.h"
#include "player/inbox.h"
#include "player/past.h"
#include "player/plan_clock.h"
#include "player/reference.h"

namespace st4vla::player {

class Player {
public:
    explicit Player(const Settings &settings) noexcept;

    // Any thread.
    void stop() noexcept { stop_wanted_.store(true, std::memory_order_relaxed); }
    st4vla_player_status resume() noexcept;
    st4vla_player_report report() const noexcept;
    const Settings &settings() const noexcept { return settings_; }

    // The thread that puts.
    st4vla_player_status put(const st4vla_wire_action_chunk &chunk, const void *actions, std::size_t bytes) noexcept
    {
        return inbox_.put(settings_.config, chunk, actions, bytes);
    }

    // The control thread.
    st4vla_player_status anchor(const double *base_T_ee, const double *joint_positions_rad) noexcept;
    st4vla_player_status step(const st4vla_player_input &input, st4vla_player_setpoint *setpoint) noexcept;

private:
    /// What the control thread decided about this step.
    struct Verdict {
        int pace = ST4VLA_PACE_HOLD, reason = ST4VLA_PLAYER_REASON_NO_CHUNK, action_index = -1;
        std::int64_t frame_age_ns = -1, plan_age_ns = -1;
    };
    /// Written by the control thread, read by any.
    struct Shared {
        std::atomic<std::uint64_t> steps{0}, played{0}, refused_old{0}, refused_time{0}, steps_back{0}, stops{0}, corrections{0};
        std::atomic<std::uint64_t> chunk_id{0};
        std::atomic<int> pace{ST4VLA_PACE_HOLD}, reason{ST4VLA_PLAYER_REASON_NO_CHUNK};
        std::atomic<bool> stopped{false}, at_rest{true};
    };

    std::int64_t clocked(std::int64_t now_ns) noexcept;
    void hear() noexcept;
    void take_chunk(std::int64_t now_ns) noexcept;
    void latch_stop(int reason) noexcept;
    Verdict judge(std::int64_t now_ns) noexcept;
    void correct(const double *sent) noexcept;
    void advance(const Verdict &verdict, std::int64_t clock_ns, const double *measured, Tick tick) noexcept;
    void fill(const Verdict &verdict, st4vla_player_gripper gripper, st4vla_player_setpoint *setpoint) const noexcept;
    void share(const Verdict &verdict) noexcept;

    // The control thread's own, what each tick needs first and close together: after a millisecond's sleep it must come
    // back into the caches.
    PlanClock clock_;
    std::int64_t last_ns_ = 0;
    double factor_ = 1.0;
    int stop_reason_ = ST4VLA_PLAYER_REASON_NONE;
    bool anchored_ = false, has_chunk_ = false, stopped_ = false, limited_ = false;
    bool splice_ = false;  ///< What is asked for has changed.
    bool joins_ = false;   ///< It takes the place of actions that were being executed.
    bool ran_ = false;     ///< The last step executed an action.
    Gripper gripper_;
    const Settings settings_;
    Motion asked_{};  ///< What was asked for, or done, at the last tick.
    Reference reference_;
    Arm arm_;
    Past past_;
    Course robot_;  ///< Where it was found, if it was elsewhere than where it was sent.

    // Shared with other threads.
    alignas(64) std::atomic<bool> stop_wanted_{false};
    std::atomic<std::uint64_t> resumed_stop_{0};  ///< Which stop somebody resumes from, counted from 1.
    Shared shared_;
    Inbox inbox_;
};

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_PLAYER_H

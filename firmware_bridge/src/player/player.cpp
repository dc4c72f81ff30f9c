#include "player/player.h"

namespace st4vla::player {
namespace {

/// Add one, by the only thread that writes.
void count(std::atomic<std::uint64_t> &counter) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

}  // namespace

Player::Player(const Settings &settings) noexcept : settings_(settings)
{
    gripper_.reset(settings.config.gripper_close_below, settings.config.gripper_open_above);
}

st4vla_player_status Player::resume() noexcept
{
    // Which stop is meant is read first: a later one needs a decision of its own.
    const std::uint64_t stop = shared_.stops.load(std::memory_order_acquire);
    if (!shared_.stopped.load(std::memory_order_acquire)) {
        return ST4VLA_PLAYER_NOT_STOPPED;
    }
    if (!shared_.at_rest.load(std::memory_order_acquire)) {
        return ST4VLA_PLAYER_NOT_AT_REST;
    }
    resumed_stop_.store(stop, std::memory_order_release);
    return ST4VLA_PLAYER_OK;
}

st4vla_player_status Player::anchor(const double *base_T_ee, const double *joint_positions_rad) noexcept
{
    const st4vla_player_status status = arm_.reset(settings_, base_T_ee, joint_positions_rad);
    if (status != ST4VLA_PLAYER_OK) {
        return status;
    }
    // Chunks of before were meant for an arm that was elsewhere.
    inbox_.forget();
    // So were the times of before, if the clock was wrong.
    last_ns_ = 0;
    has_chunk_ = limited_ = ran_ = false;
    Sent sent;
    arm_.command(settings_, &sent);
    past_.restart(settings_, sent);
    anchored_ = splice_ = true;
    arm_.done(settings_, &asked_);
    reference_.forget();
    shared_.at_rest.store(true, std::memory_order_release);
    return ST4VLA_PLAYER_OK;
}

st4vla_player_status Player::step(const st4vla_player_input &input, st4vla_player_setpoint *setpoint) noexcept
{
    const bool too_many = input.ticks > ST4VLA_PLAYER_MAX_TICKS;
    const std::int64_t now_ns = clocked(input.now_ns);
    hear();
    if (anchored_) {
        take_chunk(now_ns);
        if (input.has_measured != 0 && arm_.is_lost(settings_, input.measured)) {
            latch_stop(ST4VLA_PLAYER_REASON_LOST);
        }
    }
    const Verdict verdict = judge(now_ns);
    st4vla_player_gripper gripper = ST4VLA_PLAYER_GRIPPER_NOTHING;
    if (anchored_ && !too_many) {
        for (std::uint32_t left = input.ticks; left > 0; --left) {
            const std::int64_t ahead_ns = static_cast<std::int64_t>(left - 1) * ST4VLA_PLAYER_TICK_NS;
            const Tick tick = left > 1 ? Tick::kMissed : Tick::kHeard;
            // What the robot says is of now, after all that was missed.
            if (tick == Tick::kHeard && input.has_sent != 0) {
                correct(input.sent);
            }
            advance(verdict, now_ns - ahead_ns, input.has_measured != 0 ? input.measured : nullptr, tick);
            arm_.command(settings_, past_.note());
        }
        if (verdict.pace <= ST4VLA_PACE_SLOW && settings_.config.gripper_index != ST4VLA_NO_GRIPPER) {
            gripper = gripper_.command(inbox_.chunk().actions[verdict.action_index][settings_.config.gripper_index]);
        }
    }
    ran_ = verdict.action_index >= 0;
    fill(verdict, gripper, setpoint);
    share(verdict);
    return !anchored_ ? ST4VLA_PLAYER_NOT_ANCHORED : too_many ? ST4VLA_PLAYER_BAD_TICKS : ST4VLA_PLAYER_OK;
}

/// A clock that steps back, or is none, stands still until it is right again: ages never fall.
std::int64_t Player::clocked(std::int64_t now_ns) noexcept
{
    if (now_ns < last_ns_) {
        count(shared_.steps_back);
    }
    last_ns_ = std::min(std::max(now_ns, last_ns_), kLatest_ns);
    return last_ns_;
}

/// Do what other threads asked for; a stop goes before a resume.
void Player::hear() noexcept
{
    const std::uint64_t resumed = resumed_stop_.load(std::memory_order_acquire);
    if (stopped_ && arm_.at_rest(settings_) && resumed == shared_.stops.load(std::memory_order_relaxed)) {
        stopped_ = false;
        has_chunk_ = false;
        inbox_.forget();
    }
    if (stop_wanted_.load(std::memory_order_relaxed) && stop_wanted_.exchange(false, std::memory_order_acquire)) {
        latch_stop(ST4VLA_PLAYER_REASON_TOLD);
    }
}

void Player::latch_stop(int reason) noexcept
{
    if (!stopped_) {
        stopped_ = true;
        stop_reason_ = reason;
        count(shared_.stops);
    }
}

void Player::take_chunk(std::int64_t now_ns) noexcept
{
    if (stopped_) {
        inbox_.forget();
        return;
    }
    switch (inbox_.take(now_ns, has_chunk_)) {
    case Inbox::Taken::kNothing:
        return;
    case Inbox::Taken::kOld:
        count(shared_.refused_old);
        return;
    case Inbox::Taken::kFromTheFuture:
        count(shared_.refused_time);
        return;
    case Inbox::Taken::kNewer:
        count(shared_.played);
        has_chunk_ = splice_ = true;
        joins_ = ran_;
    }
}

Player::Verdict Player::judge(std::int64_t now_ns) noexcept
{
    const Chunk &chunk = inbox_.chunk();
    Verdict verdict;
    if (has_chunk_) {
        verdict.frame_age_ns = std::max<std::int64_t>(now_ns - chunk.frame_capture_ns, 0);
        verdict.plan_age_ns = std::max<std::int64_t>(now_ns - chunk.plan_capture_ns, 0);
        const int frame = pace_of(settings_.config.frame, verdict.frame_age_ns);
        const int plan = pace_of(settings_.config.plan, verdict.plan_age_ns);
        verdict.pace = std::max(frame, plan);
        verdict.reason = verdict.pace == ST4VLA_PACE_RUN ? ST4VLA_PLAYER_REASON_NONE
                         : frame >= plan                 ? ST4VLA_PLAYER_REASON_FRAME_AGE
                                                         : ST4VLA_PLAYER_REASON_PLAN_AGE;
        if (verdict.pace == ST4VLA_PACE_STOP) {
            latch_stop(verdict.reason);
        }
    }
    if (stopped_) {
        verdict.pace = ST4VLA_PACE_STOP;
        verdict.reason = stop_reason_;
        return verdict;
    }
    if (verdict.pace > ST4VLA_PACE_SLOW) {
        return verdict;
    }
    // Half a period before it is due, an action's speed begins to rise.
    const double phase = chunk.phase(now_ns);
    if (phase < -0.5 || phase >= chunk.horizon) {
        verdict.pace = ST4VLA_PACE_HOLD;
        verdict.reason = phase < 0.0 ? ST4VLA_PLAYER_REASON_NOT_DUE : ST4VLA_PLAYER_REASON_USED_UP;
        return verdict;
    }
    verdict.action_index = std::max(static_cast<int>(phase), 0);
    // Moves that came slowed down are not slowed down again.
    const double factor = verdict.pace == ST4VLA_PACE_SLOW && chunk.pace == ST4VLA_PACE_RUN ? kSlowFactor : 1.0;
    if (chunk.pace > verdict.pace) {
        verdict.pace = chunk.pace;
        verdict.reason = ST4VLA_PLAYER_REASON_SENDER;
    }
    splice_ |= factor != factor_;
    factor_ = factor;
    return verdict;
}

/// If the robot says that it is elsewhere than where it was sent, and why is known, go on from there.
void Player::correct(const double *sent) noexcept
{
    if (past_.explain(settings_, sent, &robot_)) {
        arm_.go_on(settings_, robot_);
        count(shared_.corrections);
    }
}

void Player::advance(const Verdict &verdict, std::int64_t clock_ns, const double *measured, Tick tick) noexcept
{
    const bool jumped = clock_.tick(clock_ns);
    // What is not due yet or used up asks for no speed, but its goal is still to be reached.
    const bool rests = verdict.pace == ST4VLA_PACE_STOP ||
                       (verdict.pace == ST4VLA_PACE_HOLD && verdict.reason != ST4VLA_PLAYER_REASON_USED_UP &&
                        verdict.reason != ST4VLA_PLAYER_REASON_NOT_DUE);
    if (rests) {
        arm_.brake(settings_, tick);
        // Once something is asked for again, it begins with what is done.
        arm_.done(settings_, &asked_);
        reference_.forget();
        splice_ = true;
        limited_ = false;
        return;
    }
    if (splice_ || jumped) {
        reference_.splice(settings_, inbox_.chunk(), {clock_.time_ns(), factor_, joins_}, asked_);
        splice_ = false;
    }
    reference_.at(settings_, inbox_.chunk(), clock_.time_ns(), &asked_);
    limited_ = arm_.follow(settings_, asked_, measured, tick) || reference_.limited();
}

void Player::fill(const Verdict &verdict, st4vla_player_gripper gripper,
                  st4vla_player_setpoint *setpoint) const noexcept
{
    *setpoint = {};
    arm_.write(settings_, setpoint);
    setpoint->gripper_opening = gripper_.opening();
    setpoint->frame_age_ns = verdict.frame_age_ns;
    setpoint->plan_age_ns = verdict.plan_age_ns;
    setpoint->chunk_id = has_chunk_ ? inbox_.chunk().chunk_id : 0;
    setpoint->action_index = verdict.action_index;
    setpoint->gripper_count = gripper_.count();
    setpoint->pace = static_cast<std::uint16_t>(verdict.pace);
    setpoint->reason = static_cast<std::uint16_t>(verdict.reason);
    setpoint->gripper = static_cast<std::uint16_t>(gripper);
    setpoint->at_rest = arm_.at_rest(settings_) ? 1 : 0;
    setpoint->limited = limited_ ? 1 : 0;
}

void Player::share(const Verdict &verdict) noexcept
{
    count(shared_.steps);
    shared_.chunk_id.store(has_chunk_ ? inbox_.chunk().chunk_id : 0, std::memory_order_relaxed);
    shared_.pace.store(verdict.pace, std::memory_order_relaxed);
    shared_.reason.store(verdict.reason, std::memory_order_relaxed);
    // At rest first: a thread that sees the stop must not see a rest of before it.
    shared_.at_rest.store(arm_.at_rest(settings_), std::memory_order_release);
    shared_.stopped.store(stopped_, std::memory_order_release);
}

st4vla_player_report Player::report() const noexcept
{
    const auto value = [](const auto &counter) { return counter.load(std::memory_order_relaxed); };
    st4vla_player_report report{};
    report.steps = value(shared_.steps);
    report.chunks_played = value(shared_.played);
    report.chunks_refused_old = value(shared_.refused_old);
    report.chunks_refused_time = value(shared_.refused_time);
    report.clock_steps_back = value(shared_.steps_back);
    report.stops = value(shared_.stops);
    report.corrections = value(shared_.corrections);
    report.chunk_id = value(shared_.chunk_id);
    report.pace = static_cast<std::uint16_t>(shared_.pace.load(std::memory_order_relaxed));
    report.reason = static_cast<std::uint16_t>(shared_.reason.load(std::memory_order_relaxed));
    report.at_rest = shared_.at_rest.load(std::memory_order_acquire) ? 1 : 0;
    return report;
}

}  // namespace st4vla::player

#include "player/player.h"

namespace st4vla::player {
namespace {

/// Times beyond it are nobody's clock (36 years); differences of two below it cannot overflow.
constexpr std::int64_t kLatest_ns = std::int64_t{1} << 60;
constexpr std::int64_t kLongestPeriod_ns = 10'000'000'000;
/// A capture may be stamped by another thread a little later than the control thread looked at the clock.
constexpr std::int64_t kSkew_ns = 10'000'000;
/// A chunk that begins farther ahead was not made from a frame of now.
constexpr std::int64_t kFarthestStart_ns = 1'000'000'000;
/// An arm that is farther from its setpoint is not following it.
constexpr double kLostLeashes = 4.0;
/// As libfranka tests a pose.
constexpr double kRotationTolerance = 1e-5;

bool is_time(std::int64_t time_ns) noexcept { return time_ns >= 0 && time_ns <= kLatest_ns; }

bool are_finite(const double *numbers, int count) noexcept
{
    return std::all_of(numbers, numbers + count, [](double x) { return std::isfinite(x); });
}

/// Add one, by the only thread that writes.
void count(std::atomic<std::uint64_t> &counter) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

template <int D>
bool is_inside(const Vec<D> &position, const Bounds<D> &bounds) noexcept
{
    for (int i = 0; i < D; ++i) {
        if (!(position[i] >= bounds.low[i] && position[i] <= bounds.high[i])) {
            return false;
        }
    }
    return true;
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

st4vla_player_status Player::put(const st4vla_wire_action_chunk &chunk, const void *actions,
                                 std::size_t bytes) noexcept
{
    const st4vla_player_config &config = settings_.config;
    const std::size_t row = config.action_dim * sizeof(float);
    if (chunk.representation != config.representation || chunk.action_dim != config.action_dim ||
        chunk.gripper_index != config.gripper_index || chunk.horizon < 1 || chunk.horizon > kMaxHorizon ||
        bytes != chunk.horizon * row || (chunk.pace != ST4VLA_PACE_RUN && chunk.pace != ST4VLA_PACE_SLOW)) {
        return ST4VLA_PLAYER_BAD_CHUNK;
    }
    if (!is_time(chunk.frame_capture_ns) || !is_time(chunk.plan_capture_ns) || !is_time(chunk.start_ns) ||
        chunk.period_ns < ST4VLA_PLAYER_TICK_NS || chunk.period_ns > kLongestPeriod_ns) {
        return ST4VLA_PLAYER_BAD_TIME;
    }
    Chunk &back = slot_.back();
    back.chunk_id = chunk.chunk_id;
    back.observation_sequence = chunk.observation_sequence;
    back.frame_capture_ns = chunk.frame_capture_ns;
    back.plan_capture_ns = chunk.plan_capture_ns;
    back.start_ns = chunk.start_ns;
    back.period_ns = chunk.period_ns;
    back.horizon = chunk.horizon;
    back.pace = chunk.pace;
    const auto *from = static_cast<const unsigned char *>(actions);
    for (int i = 0; i < back.horizon; ++i, from += row) {
        std::memcpy(back.actions[i], from, row);
        if (!std::all_of(back.actions[i], back.actions[i] + config.action_dim, [](float x) { return std::isfinite(x); })) {
            return ST4VLA_PLAYER_NOT_FINITE;
        }
    }
    slot_.publish();
    return ST4VLA_PLAYER_OK;
}

st4vla_player_status Player::anchor(const double *base_T_ee, const double *joint_positions_rad) noexcept
{
    const double *given = settings_.joints ? joint_positions_rad : base_T_ee;
    if (given == nullptr) {
        return ST4VLA_PLAYER_BAD_POINTER;
    }
    if (!are_finite(given, settings_.joints ? settings_.motion : 16)) {
        return ST4VLA_PLAYER_BAD_POSE;
    }
    if (settings_.joints) {
        for (int i = 0; i < settings_.motion; ++i) {
            if (!is_inside(Vec<1>{{given[i]}}, settings_.joint[i])) {
                return ST4VLA_PLAYER_BAD_POSE;
            }
        }
        for (int i = 0; i < settings_.motion; ++i) {
            joints_[i].reset({{given[i]}}, settings_.joint[i]);
        }
    } else {
        const Vec3 position{{given[3], given[7], given[11]}};
        const bool bottom = given[12] == 0.0 && given[13] == 0.0 && given[14] == 0.0 && given[15] == 1.0;
        if (!bottom || !is_rotation(given, 4, kRotationTolerance) || !is_inside(position, settings_.translation)) {
            return ST4VLA_PLAYER_BAD_POSE;
        }
        point_.reset(position, settings_.translation);
        rotation_.reset(from_matrix(given, 4), settings_.rotation, settings_.config.turn_rad);
    }
    // Chunks of before were meant for an arm that was elsewhere.
    slot_.take();
    has_chunk_ = limited_ = ran_ = false;
    anchored_ = splice_ = true;
    ask_for_here();
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
        if (is_lost(input)) {
            latch_stop(ST4VLA_PLAYER_REASON_LOST);
        }
    }
    const Verdict verdict = judge(now_ns);
    st4vla_player_gripper gripper = ST4VLA_PLAYER_GRIPPER_NOTHING;
    if (anchored_ && !too_many) {
        for (std::uint32_t left = input.ticks; left > 0; --left) {
            const std::int64_t ahead_ns = static_cast<std::int64_t>(left - 1) * ST4VLA_PLAYER_TICK_NS;
            advance(verdict, now_ns - ahead_ns, input.has_measured != 0 ? input.measured : nullptr);
        }
        if (verdict.pace <= ST4VLA_PACE_SLOW && settings_.config.gripper_index != ST4VLA_NO_GRIPPER) {
            gripper = gripper_.command(chunk_.actions[verdict.action_index][settings_.config.gripper_index]);
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
    if (stopped_ && at_rest() && resumed == shared_.stops.load(std::memory_order_relaxed)) {
        stopped_ = false;
        has_chunk_ = false;
        slot_.take();
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
    if (!slot_.take() || stopped_) {
        return;
    }
    const Chunk &newest = slot_.front();
    if (has_chunk_ && newest.observation_sequence <= chunk_.observation_sequence) {
        count(shared_.refused_old);
    } else if (newest.frame_capture_ns > now_ns + kSkew_ns || newest.plan_capture_ns > now_ns + kSkew_ns ||
               newest.start_ns > now_ns + kFarthestStart_ns) {
        count(shared_.refused_time);
    } else {
        chunk_.take(newest);
        has_chunk_ = splice_ = true;
        joins_ = ran_;
        count(shared_.played);
    }
}

Player::Verdict Player::judge(std::int64_t now_ns) noexcept
{
    Verdict verdict;
    if (has_chunk_) {
        verdict.frame_age_ns = std::max<std::int64_t>(now_ns - chunk_.frame_capture_ns, 0);
        verdict.plan_age_ns = std::max<std::int64_t>(now_ns - chunk_.plan_capture_ns, 0);
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
    const double phase = chunk_.phase(now_ns);
    if (phase < -0.5 || phase >= chunk_.horizon) {
        verdict.pace = ST4VLA_PACE_HOLD;
        verdict.reason = phase < 0.0 ? ST4VLA_PLAYER_REASON_NOT_DUE : ST4VLA_PLAYER_REASON_USED_UP;
        return verdict;
    }
    verdict.action_index = std::max(static_cast<int>(phase), 0);
    // Moves that came slowed down are not slowed down again.
    const double factor = verdict.pace == ST4VLA_PACE_SLOW && chunk_.pace == ST4VLA_PACE_RUN ? kSlowFactor : 1.0;
    if (chunk_.pace > verdict.pace) {
        verdict.pace = chunk_.pace;
        verdict.reason = ST4VLA_PLAYER_REASON_SENDER;
    }
    splice_ |= factor != factor_;
    factor_ = factor;
    return verdict;
}

void Player::advance(const Verdict &verdict, std::int64_t clock_ns, const double *measured) noexcept
{
    const bool jumped = clock_.tick(clock_ns);
    // What is not due yet or used up asks for no speed, but its goal is still to be reached.
    const bool rests = verdict.pace == ST4VLA_PACE_STOP ||
                       (verdict.pace == ST4VLA_PACE_HOLD && verdict.reason != ST4VLA_PLAYER_REASON_USED_UP &&
                        verdict.reason != ST4VLA_PLAYER_REASON_NOT_DUE);
    if (rests) {
        brake();
        splice_ = true;
        return;
    }
    if (splice_ || jumped) {
        reference_.splice(settings_, chunk_, {clock_.time_ns(), factor_, joins_}, asked_);
        splice_ = false;
    }
    asked_ = reference_.at(settings_, chunk_, clock_.time_ns());
    limited_ = reference_.limited();
    follow(asked_, measured);
}

void Player::follow(const Reference::Motion &asked, const double *measured) noexcept
{
    const double leash_m = settings_.config.leash_m, leash_rad = settings_.config.leash_rad;
    if (!settings_.joints) {
        const Vec3 move{{asked.speed[0], asked.speed[1], asked.speed[2]}};
        const Vec3 turn{{asked.speed[3], asked.speed[4], asked.speed[5]}};
        const Vec3 hand = measured != nullptr ? Vec3{{measured[0], measured[1], measured[2]}} : Vec3{};
        limited_ |= point_.follow(point_.goal() + move * kTick_s, leash_m, measured != nullptr ? &hand : nullptr);
        limited_ |= rotation_.follow(turn, leash_rad);
        return;
    }
    for (int i = 0; i < settings_.motion; ++i) {
        const double goal = settings_.positions ? asked.at[i] : joints_[i].goal()[0] + asked.speed[i] * kTick_s;
        const Vec<1> joint{{measured != nullptr ? measured[i] : 0.0}};
        limited_ |= joints_[i].follow({{goal}}, leash_rad, measured != nullptr ? &joint : nullptr);
    }
}

/// Slow down; once something is asked for again, it begins with what is done.
void Player::brake() noexcept
{
    limited_ = false;
    if (!settings_.joints) {
        point_.brake();
        rotation_.brake();
    }
    for (int i = 0; settings_.joints && i < settings_.motion; ++i) {
        joints_[i].brake();
    }
    ask_for_here();
    reference_.forget();
}

/// Note what is done as what was asked for.
void Player::ask_for_here() noexcept
{
    for (int i = 0; !settings_.joints && i < 3; ++i) {
        asked_.speed[i] = point_.inner_velocity()[i];
        asked_.speed[3 + i] = rotation_.inner_velocity()[i];
    }
    for (int i = 0; settings_.joints && i < settings_.motion; ++i) {
        asked_.at[i] = joints_[i].goal()[0];
        asked_.speed[i] = joints_[i].inner_velocity()[0];
    }
}

/// Whether the arm is so far from where it was sent that its goal cannot be told from where it is.
bool Player::is_lost(const st4vla_player_input &input) const noexcept
{
    if (input.has_measured == 0) {
        return false;
    }
    // Written so that NaN is lost.
    if (!settings_.joints) {
        const Vec3 hand{{input.measured[0], input.measured[1], input.measured[2]}};
        return !(norm(hand - point_.commanded()) <= kLostLeashes * settings_.config.leash_m);
    }
    for (int i = 0; i < settings_.motion; ++i) {
        if (!(std::fabs(input.measured[i] - joints_[i].commanded()[0]) <= kLostLeashes * settings_.config.leash_rad)) {
            return true;
        }
    }
    return false;
}

bool Player::at_rest() const noexcept
{
    if (!settings_.joints) {
        return point_.at_rest() && rotation_.at_rest();
    }
    return std::all_of(joints_, joints_ + settings_.motion, [](const auto &joint) { return joint.at_rest(); });
}

void Player::fill(const Verdict &verdict, st4vla_player_gripper gripper,
                  st4vla_player_setpoint *setpoint) const noexcept
{
    *setpoint = {};
    const Quaternion &q = rotation_.commanded();
    to_matrix(q, setpoint->base_T_ee, 4);
    setpoint->base_T_ee[15] = 1.0;
    const double wxyz[] = {q.w, q.x, q.y, q.z};
    std::copy(wxyz, wxyz + 4, setpoint->quaternion_wxyz);
    for (int i = 0; i < 3; ++i) {
        setpoint->base_T_ee[4 * i + 3] = point_.commanded()[i];
        setpoint->twist[i] = point_.commanded_velocity()[i];
        setpoint->twist[3 + i] = rotation_.commanded_velocity()[i];
    }
    for (int i = 0; settings_.joints && i < settings_.motion; ++i) {
        setpoint->joint_positions_rad[i] = joints_[i].commanded()[0];
        setpoint->joint_velocities_rad_s[i] = joints_[i].commanded_velocity()[0];
    }
    setpoint->gripper_opening = gripper_.opening();
    setpoint->frame_age_ns = verdict.frame_age_ns;
    setpoint->plan_age_ns = verdict.plan_age_ns;
    setpoint->chunk_id = has_chunk_ ? chunk_.chunk_id : 0;
    setpoint->action_index = verdict.action_index;
    setpoint->gripper_count = gripper_.count();
    setpoint->pace = static_cast<std::uint16_t>(verdict.pace);
    setpoint->reason = static_cast<std::uint16_t>(verdict.reason);
    setpoint->gripper = static_cast<std::uint16_t>(gripper);
    setpoint->at_rest = at_rest() ? 1 : 0;
    setpoint->limited = limited_ ? 1 : 0;
}

void Player::share(const Verdict &verdict) noexcept
{
    count(shared_.steps);
    shared_.chunk_id.store(has_chunk_ ? chunk_.chunk_id : 0, std::memory_order_relaxed);
    shared_.pace.store(verdict.pace, std::memory_order_relaxed);
    shared_.reason.store(verdict.reason, std::memory_order_relaxed);
    // At rest first: a thread that sees the stop must not see a rest of before it.
    shared_.at_rest.store(at_rest(), std::memory_order_release);
    shared_.stopped.store(stopped_, std::memory_order_release);
}

st4vla_player_report Player::report() const noexcept
{
    const auto value = [](const std::atomic<std::uint64_t> &counter) { return counter.load(std::memory_order_relaxed); };
    st4vla_player_report report{};
    report.steps = value(shared_.steps);
    report.chunks_played = value(shared_.played);
    report.chunks_refused_old = value(shared_.refused_old);
    report.chunks_refused_time = value(shared_.refused_time);
    report.clock_steps_back = value(shared_.steps_back);
    report.stops = value(shared_.stops);
    report.chunk_id = value(shared_.chunk_id);
    report.pace = static_cast<std::uint16_t>(shared_.pace.load(std::memory_order_relaxed));
    report.reason = static_cast<std::uint16_t>(shared_.reason.load(std::memory_order_relaxed));
    report.at_rest = shared_.at_rest.load(std::memory_order_acquire) ? 1 : 0;
    return report;
}

}  // namespace st4vla::player

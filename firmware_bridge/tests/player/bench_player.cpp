// What a step costs, and how late a 1 kHz loop wakes up, with and without a load on another core; one line of JSON.
//
//   bench_player [seconds of each loop, 10 by default]
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "player/rig.h"

namespace {

using namespace st4vla::player;

constexpr int kSteps = 1'000'000;

std::int64_t clock_ns()
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::string summary(std::vector<std::int64_t> times_ns)
{
    std::sort(times_ns.begin(), times_ns.end());
    const auto at = [&](double share) {
        return times_ns[static_cast<std::size_t>(share * static_cast<double>(times_ns.size() - 1))];
    };
    char text[160];
    std::snprintf(text, sizeof text, "{\"p50\": %lld, \"p99\": %lld, \"p99_9\": %lld, \"max\": %lld}",
                  static_cast<long long>(at(0.5)), static_cast<long long>(at(0.99)),
                  static_cast<long long>(at(0.999)), static_cast<long long>(times_ns.back()));
    return text;
}

st4vla_player_config config_of(st4vla_action representation)
{
    st4vla_player_config config = default_config(representation);
    if (representation != ST4VLA_ACTION_JOINT_POSITION) {
        config.frame = {150 * kMs, 200 * kMs, 400 * kMs};
    }
    return config;
}

/// Puts a chunk of a weaving motion every 50 ms, each a little different from the one before.
class Policy {
public:
    explicit Policy(const st4vla_player_config &config) : config_(config) {}

    void put(st4vla_player *player, std::int64_t now_ns)
    {
        MadeChunk chunk = made_chunk(config_, ++sequence_, now_ns - 30 * kMs, 16,
                                     std::vector<float>(config_.action_dim, 0.0F));
        const bool positions = config_.representation == ST4VLA_ACTION_JOINT_POSITION;
        for (std::size_t i = 0; i < chunk.actions.size(); ++i) {
            const std::size_t k = i / config_.action_dim, dimension = i % config_.action_dim;
            const double swing = std::sin(0.2 * static_cast<double>(k + sequence_) + static_cast<double>(dimension));
            const double centre = positions && dimension < 7 ? kReady[dimension] : 0.0;
            chunk.actions[i] = static_cast<float>(centre + (positions ? 0.1 : 0.008) * swing);
        }
        CHECK(st4vla_player_put(player, &chunk.header, chunk.actions.data(), chunk.actions.size() * sizeof(float)) ==
              ST4VLA_PLAYER_OK);
    }

private:
    st4vla_player_config config_;
    std::uint64_t sequence_ = 0;
};

/// Tell where a robot that hears everything was sent and is, as the control loop does.
void tell(const st4vla_player_config &config, Rig &rig)
{
    const bool joints = config.representation != ST4VLA_ACTION_EE_DELTA;
    const double *sent = joints ? rig.setpoint.joint_positions_rad : rig.setpoint.base_T_ee;
    std::transform(sent, sent + 16, rig.input.sent, [](double entry) { return static_cast<float>(entry); });
    for (int i = 0; i < (joints ? 7 : 3); ++i) {
        rig.input.measured[i] = joints ? sent[i] : sent[4 * i + 3];
    }
    rig.input.has_sent = rig.input.has_measured = 1;
}

/// Steps back to back; each time includes what reading the clock costs.
std::string cost_of(st4vla_action representation)
{
    const st4vla_player_config config = config_of(representation);
    Rig rig(config);
    Policy policy(config);
    std::vector<std::int64_t> times_ns(kSteps);
    for (int i = 0; i < kSteps; ++i) {
        if (i % 50 == 0) {
            policy.put(rig.player, rig.now_ns());
        }
        rig.input.now_ns += kMs;
        const std::int64_t before_ns = clock_ns();
        st4vla_player_step(rig.player, &rig.input, &rig.setpoint);
        times_ns[static_cast<std::size_t>(i)] = clock_ns() - before_ns;
        tell(config, rig);
    }
    CHECK(rig.setpoint.pace == ST4VLA_PACE_RUN);
    return summary(times_ns);
}

std::string clock_cost()
{
    std::vector<std::int64_t> times_ns(kSteps);
    for (auto &time_ns : times_ns) {
        const std::int64_t before_ns = clock_ns();
        time_ns = clock_ns() - before_ns;
    }
    return summary(times_ns);
}

bool pin(int cpu)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    return pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0;
}

/// Keep a core and its memory bus busy.
void saturate(int cpu, const std::atomic<bool> &over)
{
    pin(cpu);
    std::vector<double> memory(8U << 20U, 1.0);
    while (!over) {
        for (double &number : memory) {
            number = number * 1.0000001 + 1e-9;
        }
    }
}

/// Arithmetic of about a microsecond that needs nothing but registers: by how much it takes longer at times is the machine's
/// doing, interrupts and a host that takes a core away, and in a step of as long it would be the same.
double microsecond(double number)
{
    for (int i = 0; i < 400; ++i) {
        number = number * 0.999999 + 1e-6;
    }
    return number;
}

/// A control loop as it is meant: absolute deadlines, a chunk every 50 ms from another thread.
std::string loop(int seconds, bool loaded, int cpus)
{
    const st4vla_player_config config = config_of(ST4VLA_ACTION_EE_DELTA);
    Rig rig(config);
    std::atomic<bool> over{false};
    std::thread network([&] {
        Policy policy(config);
        while (!over) {
            policy.put(rig.player, clock_ns());
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
    });
    std::vector<std::thread> loads;
    for (int cpu = 1; loaded && cpu < cpus; ++cpu) {
        loads.emplace_back([cpu, &over] { saturate(cpu, over); });
    }

    std::vector<std::int64_t> late_ns, step_ns, machine_ns;
    long missed = 0;
    std::atomic<double> number{0.5};
    std::thread control([&] {
        pin(0);
        sched_param priority{};
        priority.sched_priority = 80;
        pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
        const std::size_t ticks = static_cast<std::size_t>(seconds) * 1000;
        late_ns.reserve(ticks);
        step_ns.reserve(ticks);
        machine_ns.reserve(ticks);
        std::int64_t due_ns = clock_ns();
        for (std::size_t i = 0; i < ticks; ++i) {
            due_ns += kMs;
            const timespec due{static_cast<time_t>(due_ns / 1'000'000'000), static_cast<long>(due_ns % 1'000'000'000)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr);
            const std::int64_t awake_ns = clock_ns();
            rig.input.now_ns = awake_ns;
            st4vla_player_step(rig.player, &rig.input, &rig.setpoint);
            const std::int64_t done_ns = clock_ns();
            late_ns.push_back(awake_ns - due_ns);
            step_ns.push_back(done_ns - awake_ns);
            missed += done_ns - due_ns > kMs ? 1 : 0;
            tell(config, rig);
            const std::int64_t begun_ns = clock_ns();
            number = microsecond(number);
            machine_ns.push_back(clock_ns() - begun_ns);
        }
    });
    control.join();
    over = true;
    network.join();
    for (std::thread &load : loads) {
        load.join();
    }
    return "{\"late_ns\": " + summary(late_ns) + ", \"step_ns\": " + summary(step_ns) +
           ", \"machine_ns\": " + summary(machine_ns) +
           ", \"ticks\": " + std::to_string(late_ns.size()) + ", \"ticks_missed\": " + std::to_string(missed) + "}";
}

/// Whether this machine grants a real-time priority.
bool has_real_time()
{
    bool granted = false;
    std::thread([&] {
        sched_param priority{};
        priority.sched_priority = 80;
        granted = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    }).join();
    return granted;
}

}  // namespace

int main(int argc, char **argv)
{
    const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
    CHECK(seconds > 0);
    const bool locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    const int cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    utsname machine{};
    uname(&machine);
    std::printf("{\"what\": \"player\", \"machine\": \"%s\", \"kernel\": \"%s\", \"cpus\": %d, ", machine.machine,
                machine.release, cpus);
    std::printf("\"real_time_priority\": %s, \"memory_locked\": %s, ", has_real_time() ? "true" : "false",
                locked ? "true" : "false");
    std::printf("\"clock_ns\": %s, ", clock_cost().c_str());
    std::printf("\"step_ns\": {\"end_effector\": %s, ", cost_of(ST4VLA_ACTION_EE_DELTA).c_str());
    std::printf("\"joint_deltas\": %s, ", cost_of(ST4VLA_ACTION_JOINT_DELTA).c_str());
    std::printf("\"joint_positions\": %s}, ", cost_of(ST4VLA_ACTION_JOINT_POSITION).c_str());
    std::printf("\"loop\": {\"seconds\": %d, \"without_load\": %s, ", seconds, loop(seconds, false, cpus).c_str());
    std::printf("\"with_load\": %s}}\n", loop(seconds, true, cpus).c_str());
    return 0;
}

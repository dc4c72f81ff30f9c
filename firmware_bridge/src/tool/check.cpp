// `st4vla-bridge check`.
#include <sys/resource.h>
#include <sys/utsname.h>

#include <cstdio>
#include <vector>

#include "commands.h"
#include "json.h"
#include "machine.h"
#include "wakeups.h"

namespace st4vla::tool {
namespace {

constexpr const char *kHelp = R"(usage: st4vla-bridge check [OPTIONS]

Say whether this machine can command an arm each millisecond: a thread is woken each millisecond beside the work of a
camera and of inference, and what usually stands in its way is looked at.

  --seconds S        how long to measure (10); a minute and more before an arm moves
  --unloaded         without the work beside it
  --robot ADDRESS    of the robot, and
  --camera ADDRESS   of a network camera or of the runtime: whether they share a network card

Exit status 1: an arm would stop because of something that was found.
)";

/// What of a millisecond is left to the arm's controller, by its maker (franka.de, "Control parameters").
constexpr int64_t kGoodNs = 300'000;
constexpr int64_t kTickNs = 1'000'000;
/// An arm stops with communication_constraints_violation after so many commands in a row did not come.
constexpr int64_t kLostPackets = 20;

struct Options {
    double seconds = 10.0;
    bool loaded = true;
    std::string robot;
    std::string camera;
};

const char *word(Verdict verdict)
{
    switch (verdict) {
    case Verdict::kOk:
        return "ok";
    case Verdict::kWarning:
        return "warning";
    case Verdict::kFailure:
        return "failure";
    case Verdict::kUnknown:
        return "unknown";
    }
    return "unknown";
}

Finding judge(const Wakeups &wakeups)
{
    char found[200];
    std::snprintf(found, sizeof found, "late by %.0f us at p50, %.0f at p99.9, %.0f at most; %llu of %llu ms missed",
                  static_cast<double>(wakeups.p50_ns) / 1e3, static_cast<double>(wakeups.p999_ns) / 1e3,
                  static_cast<double>(wakeups.max_ns) / 1e3, static_cast<unsigned long long>(wakeups.missed),
                  static_cast<unsigned long long>(wakeups.count + wakeups.missed));
    const char *remedy = wakeups.real_time_priority == 0
                             ? "see `priority`: the thread had no real-time priority"
                             : "see `kernel` and `governor`; keep a core free for the arm (isolcpus=, taskset)";
    if (wakeups.p999_ns >= kTickNs || wakeups.max_ns >= kLostPackets * kTickNs) {
        return {"wakeups", Verdict::kFailure, found, remedy};
    }
    if (wakeups.p999_ns >= kGoodNs || wakeups.missed != 0) {
        return {"wakeups", Verdict::kWarning, found, remedy};
    }
    return {"wakeups", Verdict::kOk, found, ""};
}

unsigned long long limit(decltype(RLIMIT_RTPRIO) resource)
{
    rlimit found{};
    getrlimit(resource, &found);
    return found.rlim_cur;
}

std::string kernel_version()
{
    utsname names{};
    uname(&names);
    return std::string(names.release) + " " + names.version;
}

std::string line(const std::vector<Finding> &findings, const Wakeups &wakeups, bool is_ok)
{
    JsonObject checks;
    for (const Finding &finding : findings) {
        JsonObject check;
        check.text("verdict", word(finding.verdict)).text("found", finding.found);
        checks.raw(finding.name, check.text("remedy", finding.remedy).str());
    }
    JsonObject late;
    late.number("p50", static_cast<double>(wakeups.p50_ns) / 1e3);
    late.number("p99.9", static_cast<double>(wakeups.p999_ns) / 1e3);
    late.number("max", static_cast<double>(wakeups.max_ns) / 1e3).whole("count", wakeups.count);
    late.whole("missed", wakeups.missed).flag("memory_locked", wakeups.memory_locked);
    late.whole("real_time_priority", static_cast<uint64_t>(wakeups.real_time_priority));
    return JsonObject().flag("ok", is_ok).raw("late_us", late.str()).raw("checks", checks.str()).str();
}

}  // namespace

int check(Arguments arguments)
{
    Options options;
    while (arguments.next()) {
        if (arguments.name() == "--help") {
            std::fputs(kHelp, stdout);
            return 0;
        }
        if (arguments.name() == "--seconds") {
            options.seconds = arguments.number(0.1, 86400.0);
        } else if (arguments.name() == "--unloaded") {
            options.loaded = false;
        } else if (arguments.name() == "--robot") {
            options.robot = arguments.value();
        } else if (arguments.name() == "--camera") {
            options.camera = arguments.value();
        } else {
            arguments.unknown("check");
        }
    }
    // Before the long part: a wrong address should not cost a minute.
    const Finding routes = check_routes(options.robot, options.camera);
    const Wakeups wakeups = measure_wakeups(options.seconds, options.loaded);
    const std::vector<Finding> findings = {
        judge(wakeups),
        check_kernel("/sys", kernel_version()),
        check_governor("/sys"),
        check_priority(limit(RLIMIT_RTPRIO), wakeups.real_time_priority != 0),
        check_memory(limit(RLIMIT_MEMLOCK), wakeups.memory_locked),
        routes,
    };
    bool is_ok = true;
    for (const Finding &finding : findings) {
        is_ok &= finding.verdict != Verdict::kFailure;
        std::printf("%-8s %-9s %s\n", word(finding.verdict), finding.name.c_str(), finding.found.c_str());
        if (finding.verdict != Verdict::kOk && !finding.remedy.empty()) {
            std::printf("         %-9s -> %s\n", "", finding.remedy.c_str());
        }
    }
    std::printf("%s\n", line(findings, wakeups, is_ok).c_str());
    return is_ok ? 0 : 1;
}

}  // namespace st4vla::tool

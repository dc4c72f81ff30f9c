// What `st4vla-bridge check` says of machines that are described here.
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "check.h"
#include "tool/machine.h"
#include "tool/quantiles.h"
#include "tool/wakeups.h"

namespace {

namespace fs = std::filesystem;
using namespace st4vla::tool;

/// A /sys that is gone when the test ends.
class Sys {
public:
    Sys()
    {
        std::string name = (fs::temp_directory_path() / "st4vla_sys_XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        path_ = name;
        fs::create_directories(path_ / "devices/system/cpu");
    }
    ~Sys() { fs::remove_all(path_); }

    void put(const std::string &name, const std::string &text) const
    {
        fs::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name) << text << '\n';
    }
    std::string path() const { return path_.string(); }

private:
    fs::path path_;
};

void real_time_kernels_are_known_by_either_sign()
{
    Sys sys;
    CHECK(check_kernel(sys.path(), "6.1.0 #1 SMP PREEMPT_DYNAMIC").verdict == Verdict::kWarning);
    CHECK(check_kernel(sys.path(), "5.15.148-rt-tegra #1 SMP PREEMPT RT").verdict == Verdict::kOk);
    CHECK(check_kernel(sys.path(), "6.1.0-rt #1 SMP PREEMPT_RT").verdict == Verdict::kOk);
    sys.put("kernel/realtime", "1");
    CHECK(check_kernel(sys.path(), "6.1.0 #1 SMP").verdict == Verdict::kOk);
    sys.put("kernel/realtime", "0");
    CHECK(check_kernel(sys.path(), "6.1.0 #1 SMP").verdict == Verdict::kWarning);
}

void one_core_that_saves_power_is_enough_for_a_warning()
{
    Sys sys;
    CHECK(check_governor(sys.path()).verdict == Verdict::kUnknown);
    sys.put("devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance");
    CHECK(check_governor(sys.path()).verdict == Verdict::kOk);
    sys.put("devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave");
    const Finding finding = check_governor(sys.path());
    CHECK(finding.verdict == Verdict::kWarning && !finding.remedy.empty());
    CHECK(finding.found == "performance on 1 cores, powersave on 1 cores");
}

void rights_that_were_not_granted_come_with_a_remedy()
{
    CHECK(check_priority(99, true).verdict == Verdict::kOk);
    CHECK(check_priority(0, false).verdict == Verdict::kFailure && !check_priority(0, false).remedy.empty());
    CHECK(check_memory(RLIM_INFINITY, true).found == "memlock unlimited, granted");
    CHECK(check_memory(65536, false).verdict == Verdict::kWarning);
}

void robot_and_camera_want_cards_of_their_own()
{
    CHECK(check_routes("", "127.0.0.1").verdict == Verdict::kUnknown);
    CHECK(interface_to("127.0.0.1") == "lo");
    CHECK(check_routes("127.0.0.1", "127.0.0.2").verdict == Verdict::kFailure);
    bool refused = false;
    try {
        interface_to("robot.local");
    } catch (const std::runtime_error &) {
        refused = true;
    }
    CHECK(refused);
}

void quantiles_are_samples()
{
    CHECK(quantile({}, 0.5) == 0 && quantile({7}, 0.999) == 7);
    CHECK(quantile({1, 2, 3, 4, 5}, 0.5) == 3 && quantile({1, 2, 3, 4, 5}, 1.0) == 5);
    CHECK(quantile({1, 2, 3, 4, 5}, 0.2) == 1 && quantile({1, 2, 3, 4, 5}, 0.21) == 2);
}

void every_millisecond_is_accounted_for()
{
    const Wakeups wakeups = measure_wakeups(0.2, true);
    CHECK(wakeups.count + wakeups.missed >= 200 && wakeups.count <= 200);
    CHECK(wakeups.p50_ns > 0 && wakeups.p50_ns <= wakeups.p999_ns && wakeups.p999_ns <= wakeups.max_ns);
}

}  // namespace

int main()
{
    real_time_kernels_are_known_by_either_sign();
    one_core_that_saves_power_is_enough_for_a_warning();
    rights_that_were_not_granted_come_with_a_remedy();
    robot_and_camera_want_cards_of_their_own();
    quantiles_are_samples();
    every_millisecond_is_accounted_for();
    return 0;
}

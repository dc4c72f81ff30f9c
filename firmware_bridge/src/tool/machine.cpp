#include "machine.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace st4vla::tool {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path &path)
{
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string limit_text(unsigned long long limit)
{
    return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit);
}

}  // namespace

Finding check_kernel(const std::string &sys, const std::string &version)
{
    const bool is_real_time = first_line(fs::path(sys) / "kernel/realtime") == "1" ||
                              version.find("PREEMPT_RT") != std::string::npos ||
                              version.find("PREEMPT RT") != std::string::npos;
    if (is_real_time) {
        return {"kernel", Verdict::kOk, "real-time (" + version + ")", ""};
    }
    return {"kernel", Verdict::kWarning, "not real-time (" + version + ")",
            "install one: Ubuntu `sudo pro enable realtime-kernel`, Debian `sudo apt-get install "
            "linux-image-rt-amd64`, Jetson the package nvidia-l4t-rt-kernel; libfranka's kEnforce refuses this one"};
}

Finding check_governor(const std::string &sys)
{
    std::map<std::string, int> governors;
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(fs::path(sys) / "devices/system/cpu", error)) {
        const std::string governor = first_line(entry.path() / "cpufreq/scaling_governor");
        if (!governor.empty()) {
            ++governors[governor];
        }
    }
    if (governors.empty()) {
        return {"governor", Verdict::kUnknown, "the kernel scales no frequency here, as in a virtual machine", ""};
    }
    std::string found;
    for (const auto &[governor, cores] : governors) {
        found += (found.empty() ? "" : ", ") + governor + " on " + std::to_string(cores) + " cores";
    }
    if (governors.size() == 1 && governors.begin()->first == "performance") {
        return {"governor", Verdict::kOk, found, ""};
    }
    return {"governor", Verdict::kWarning, found,
            "`sudo cpupower frequency-set -g performance`; on a Jetson `sudo jetson_clocks`"};
}

Finding check_priority(unsigned long long limit, bool granted)
{
    const std::string found = "rtprio " + limit_text(limit) + (granted ? ", granted" : ", not granted");
    const char *remedy =
        "`@realtime - rtprio 99` in /etc/security/limits.conf, `sudo usermod -aG realtime USER`, log in again";
    return {"priority", granted ? Verdict::kOk : Verdict::kFailure, found, granted ? "" : remedy};
}

Finding check_memory(unsigned long long limit, bool granted)
{
    const std::string found = "memlock " + limit_text(limit) + (granted ? ", granted" : ", not granted");
    if (granted) {
        return {"memory", Verdict::kOk, found, ""};
    }
    return {"memory", Verdict::kWarning, found,
            "`@realtime - memlock unlimited` in /etc/security/limits.conf, log in again: a page may be away when it is "
            "needed"};
}

}  // namespace st4vla::tool

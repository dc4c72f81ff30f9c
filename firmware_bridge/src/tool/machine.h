// What a machine is like, as its kernel tells.
#ifndef ST4VLA_TOOL_MACHINE_H
#define ST4VLA_TOOL_MACHINE_H

#include <string>

#include "finding.h"

namespace st4vla::tool {

/// Whether the kernel is a real-time one (PREEMPT_RT). `sys` is where /sys is, `version` what uname says of it.
Finding check_kernel(const std::string &sys, const std::string &version);

/// Whether the cores keep their frequency.
Finding check_governor(const std::string &sys);

/// Whether this user may have a real-time priority, and lock memory: what getrlimit tells, and whether it was `granted`
/// when it was tried, as it is to root under any limit.
Finding check_priority(unsigned long long limit, bool granted);
Finding check_memory(unsigned long long limit, bool granted);

/// Whether packets to the robot and to the camera leave by different interfaces; empty addresses were not given.
Finding check_routes(const std::string &robot, const std::string &camera);

/// The interface by which packets to a numeric address leave, or nothing. Throws std::runtime_error for no address.
std::string interface_to(const std::string &address);

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_MACHINE_H

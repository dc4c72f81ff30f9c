// Quantiles of what was measured.
#ifndef ST4VLA_TOOL_QUANTILES_H
#define ST4VLA_TOOL_QUANTILES_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace st4vla::tool {

/// The smallest sample that at least a share `quantile` of all do not exceed (nearest rank); 0 without samples.
///
/// The samples are sorted.
inline int64_t quantile(const std::vector<int64_t> &samples, double quantile)
{
    if (samples.empty()) {
        return 0;
    }
    const auto rank = static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(samples.size())));
    return samples[std::clamp<std::size_t>(rank, 1, samples.size()) - 1];
}

}  // namespace st4vla::tool

#endif  // ST4VLA_TOOL_QUANTILES_H

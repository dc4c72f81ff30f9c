// Exceptions end here, at the edge of the C ABI.
#ifndef ST4VLA_GUARD_H
#define ST4VLA_GUARD_H

#include <exception>
#include <new>

#include "detail.h"

namespace st4vla {

/// Return what a call returns, or the status of what it threw.
template <typename Call>
st4vla_status guarded(Call call) noexcept
{
    try {
        return call();
    } catch (const std::bad_alloc &) {
        return ST4VLA_NO_MEMORY;
    } catch (const std::exception &error) {
        return fail(ST4VLA_SYSTEM, "%s", error.what());
    }
}

}  // namespace st4vla

#endif  // ST4VLA_GUARD_H

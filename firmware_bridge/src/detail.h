// What a call that failed has to say beyond its status: see st4vla_detail.
#ifndef ST4VLA_DETAIL_H
#define ST4VLA_DETAIL_H

#include "st4vla/status.h"

namespace st4vla {

/// Note why, in the form of printf, and return the status.
__attribute__((format(printf, 2, 3))) st4vla_status fail(st4vla_status status, const char *format, ...) noexcept;

}  // namespace st4vla

#endif  // ST4VLA_DETAIL_H

// Unit quaternions, and the rotation vectors between them.
#ifndef ST4VLA_PLAYER_ROTATION_H
#define ST4VLA_PLAYER_ROTATION_H

#include <cstddef>

#include "player/vec.h"

namespace st4vla::player {

/// Turns from the end effector's frame into the base frame.
struct Quaternion {
    double w = 1.0, x = 0.0, y = 0.0, z = 0.0;
};

Quaternion operator*(const Quaternion &a, const Quaternion &b) noexcept;

/// The inverse of a unit quaternion.
Quaternion conjugate(const Quaternion &a) noexcept;

Quaternion normalized(const Quaternion &a) noexcept;

/// The rotation of a rotation vector, radians.
Quaternion from_vector(const Vec3 &vector_rad) noexcept;

/// The rotation vector, radians, of length up to pi.
Vec3 to_vector(const Quaternion &a) noexcept;

/// Write the nine entries of the rotation matrix into rows of `stride` numbers.
void to_matrix(const Quaternion &a, double *rows, std::ptrdiff_t stride) noexcept;

/// Whether nine entries in rows of `stride` numbers are a rotation matrix, to within `tolerance` in each product.
bool is_rotation(const double *rows, std::ptrdiff_t stride, double tolerance) noexcept;

/// The quaternion of a rotation matrix (Shepperd, "Quaternion from rotation matrix", 1978).
Quaternion from_matrix(const double *rows, std::ptrdiff_t stride) noexcept;

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_ROTATION_H

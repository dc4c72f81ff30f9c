#include "player/rotation.h"

namespace st4vla::player {
namespace {

/// Angles in radians for which a few terms of a series are exact to the last digit. What turns in a tick is smaller, and
/// need not wait until the mathematical library's code and tables have come back into the caches.
constexpr double kSmall = 0.1;

}  // namespace

Quaternion operator*(const Quaternion &a, const Quaternion &b) noexcept
{
    return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

Quaternion conjugate(const Quaternion &a) noexcept { return {a.w, -a.x, -a.y, -a.z}; }

Quaternion normalized(const Quaternion &a) noexcept
{
    const double length = std::sqrt(a.w * a.w + a.x * a.x + a.y * a.y + a.z * a.z);
    return {a.w / length, a.x / length, a.y / length, a.z / length};
}

Quaternion from_vector(const Vec3 &vector_rad) noexcept
{
    const double square = dot(vector_rad, vector_rad);
    const auto turned_by = [&](double w, double scale) {
        return Quaternion{w, scale * vector_rad[0], scale * vector_rad[1], scale * vector_rad[2]};
    };
    if (square < kSmall * kSmall) {
        // cos(x / 2) and sin(x / 2) / x; the next terms are below 1e-19.
        return turned_by(
            1.0 - square * (1.0 / 8 - square * (1.0 / 384 - square * (1.0 / 46'080 - square / 10'321'920))),
            0.5 - square * (1.0 / 48 - square * (1.0 / 3840 - square * (1.0 / 645'120 - square / 185'794'560))));
    }
    const double angle = std::sqrt(square);
    return turned_by(std::cos(0.5 * angle), std::sin(0.5 * angle) / angle);
}

Vec3 to_vector(const Quaternion &a) noexcept
{
    // Both signs are the same rotation; the one with w >= 0 turns by pi or less.
    const double sign = a.w < 0.0 ? -1.0 : 1.0, w = sign * a.w;
    const Vec3 axis = Vec3{{a.x, a.y, a.z}} * sign;
    const double square = dot(axis, axis);
    if (square < 0.25 * kSmall * kSmall) {
        // 2 asin(x) / x; the next term is below 1e-17.
        const double fourth = square * square;
        const double higher = 35.0 / 576 + square * (63.0 / 1408);
        return axis * (2.0 + square / 3 + fourth * (3.0 / 20 + square * (5.0 / 56) + fourth * higher));
    }
    const double sine = std::sqrt(square);
    return axis * (2.0 * std::atan2(sine, w) / sine);
}

void to_matrix(const Quaternion &a, double *rows, std::ptrdiff_t stride) noexcept
{
    double *const first = rows, *const second = rows + stride, *const third = rows + 2 * stride;
    first[0] = 1.0 - 2.0 * (a.y * a.y + a.z * a.z);
    first[1] = 2.0 * (a.x * a.y - a.w * a.z);
    first[2] = 2.0 * (a.x * a.z + a.w * a.y);
    second[0] = 2.0 * (a.x * a.y + a.w * a.z);
    second[1] = 1.0 - 2.0 * (a.x * a.x + a.z * a.z);
    second[2] = 2.0 * (a.y * a.z - a.w * a.x);
    third[0] = 2.0 * (a.x * a.z - a.w * a.y);
    third[1] = 2.0 * (a.y * a.z + a.w * a.x);
    third[2] = 1.0 - 2.0 * (a.x * a.x + a.y * a.y);
}

bool is_rotation(const double *rows, std::ptrdiff_t stride, double tolerance) noexcept
{
    for (int i = 0; i < 3; ++i) {
        for (int j = i; j < 3; ++j) {
            double product = 0.0;
            for (int k = 0; k < 3; ++k) {
                product += rows[i * stride + k] * rows[j * stride + k];
            }
            // Written so that NaN is refused.
            if (!(std::fabs(product - (i == j ? 1.0 : 0.0)) <= tolerance)) {
                return false;
            }
        }
    }
    const double *a = rows, *b = rows + stride, *c = rows + 2 * stride;
    const double determinant = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) +
                               a[2] * (b[0] * c[1] - b[1] * c[0]);
    return determinant > 0.0;
}

Quaternion from_matrix(const double *rows, std::ptrdiff_t stride) noexcept
{
    const auto r = [rows, stride](int i, int j) { return rows[i * stride + j]; };
    const double trace = r(0, 0) + r(1, 1) + r(2, 2);
    if (trace >= r(0, 0) && trace >= r(1, 1) && trace >= r(2, 2)) {
        return normalized({1.0 + trace, r(2, 1) - r(1, 2), r(0, 2) - r(2, 0), r(1, 0) - r(0, 1)});
    }
    if (r(0, 0) >= r(1, 1) && r(0, 0) >= r(2, 2)) {
        return normalized(
            {r(2, 1) - r(1, 2), 1.0 + 2.0 * r(0, 0) - trace, r(1, 0) + r(0, 1), r(0, 2) + r(2, 0)});
    }
    if (r(1, 1) >= r(2, 2)) {
        return normalized(
            {r(0, 2) - r(2, 0), r(1, 0) + r(0, 1), 1.0 + 2.0 * r(1, 1) - trace, r(2, 1) + r(1, 2)});
    }
    return normalized({r(1, 0) - r(0, 1), r(0, 2) + r(2, 0), r(2, 1) + r(1, 2), 1.0 + 2.0 * r(2, 2) - trace});
}

}  // namespace st4vla::player

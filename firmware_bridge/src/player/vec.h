// Vectors of a few numbers: what the player computes with. Nothing here allocates or throws.
#ifndef ST4VLA_PLAYER_VEC_H
#define ST4VLA_PLAYER_VEC_H

#include <algorithm>
#include <cmath>

namespace st4vla::player {

template <int D>
struct Vec {
    double at[D];

    double &operator[](int i) noexcept { return at[i]; }
    double operator[](int i) const noexcept { return at[i]; }
};

using Vec3 = Vec<3>;

template <int D>
Vec<D> operator+(Vec<D> a, const Vec<D> &b) noexcept
{
    for (int i = 0; i < D; ++i) {
        a[i] += b[i];
    }
    return a;
}

template <int D>
Vec<D> operator-(Vec<D> a, const Vec<D> &b) noexcept
{
    for (int i = 0; i < D; ++i) {
        a[i] -= b[i];
    }
    return a;
}

template <int D>
Vec<D> operator*(Vec<D> a, double factor) noexcept
{
    for (int i = 0; i < D; ++i) {
        a[i] *= factor;
    }
    return a;
}

template <int D>
double dot(const Vec<D> &a, const Vec<D> &b) noexcept
{
    double sum = 0.0;
    for (int i = 0; i < D; ++i) {
        sum += a[i] * b[i];
    }
    return sum;
}

template <int D>
double norm(const Vec<D> &a) noexcept
{
    return std::sqrt(dot(a, a));
}

template <int D>
bool is_zero(const Vec<D> &a) noexcept
{
    return std::all_of(a.at, a.at + D, [](double x) { return x == 0.0; });
}

template <int D>
bool is_finite(const Vec<D> &a) noexcept
{
    return std::all_of(a.at, a.at + D, [](double x) { return std::isfinite(x); });
}

/// Scale a vector down to a longest length; what has no length that can be told becomes 0.
template <int D>
Vec<D> shortened(const Vec<D> &a, double longest) noexcept
{
    const double length = norm(a);
    if (!std::isfinite(length)) {
        return {};
    }
    return length > longest ? a * (longest / length) : a;
}

template <int D>
Vec<D> clamped(Vec<D> a, const Vec<D> &low, const Vec<D> &high) noexcept
{
    for (int i = 0; i < D; ++i) {
        a[i] = std::min(std::max(a[i], low[i]), high[i]);
    }
    return a;
}

}  // namespace st4vla::player

#endif  // ST4VLA_PLAYER_VEC_H

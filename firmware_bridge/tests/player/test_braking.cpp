// Braking distances, the moving average, and velocities near walls.
#include "player/braking.h"

#include <initializer_list>

#include "check.h"
#include "player/followers.h"

namespace {

using namespace st4vla::player;

void a_brake_from_the_braking_speed_ends_where_it_should()
{
    constexpr double cut = 8e-3;
    for (double distance = 1e-9; distance < 2.0; distance *= 1.01) {
        const double speed = braking_speed(distance, cut, kTick_s);
        CHECK(std::fabs(braking_distance(speed, cut, kTick_s) - distance) <= 1e-12);
        double moved = 0.0;
        for (double v = speed; v > 0.0; v -= cut) {
            moved += v * kTick_s;
        }
        CHECK(std::fabs(moved - distance) <= 1e-12);
        // Faster by a little is too fast.
        CHECK(braking_distance(speed * (1.0 + 1e-9), cut, kTick_s) > distance);
    }
    CHECK(braking_speed(0.0, cut, kTick_s) == 0.0 && braking_speed(-1.0, cut, kTick_s) == 0.0);
}

void an_average_holds_back_what_it_says()
{
    Average<1> average;
    average.reset(5);
    double given = 0.0, returned = 0.0;
    for (int i = 0; i < 40; ++i) {
        average.push({{0.1 * i}});
        given += 0.1 * i;
        returned += average.mean()[0];
        CHECK(std::fabs(given - returned - average.pending()[0]) <= 1e-12);
    }
    for (int i = 0; i < 5; ++i) {
        average.push({{0.0}});
    }
    CHECK(average.mean()[0] == 0.0 && average.pending()[0] == 0.0);
}

Bounds<3> box()
{
    Bounds<3> bounds{};
    bounds.speed = 1.0;
    bounds.cut = 8e-3;
    bounds.wall_cut = bounds.cut / std::sqrt(3.0);
    bounds.average = 4;
    bounds.walls = true;
    bounds.low = {{-0.1, -0.2, -0.3}};
    bounds.high = {{0.1, 0.2, 0.3}};
    return bounds;
}

void full_speed_into_a_corner_stops_in_it()
{
    const Bounds<3> bounds = box();
    PointFollower<3> point;
    point.reset({}, bounds);
    for (int i = 0; i < 2000; ++i) {
        point.follow({{9.0, 9.0, 9.0}}, 10.0, nullptr, Tick::kHeard);
        for (int k = 0; k < 3; ++k) {
            CHECK(point.commanded().position[k] <= bounds.high[k]);
        }
    }
    for (int k = 0; k < 3; ++k) {
        CHECK(std::fabs(point.commanded().position[k] - bounds.high[k]) <= 1e-8);
    }
    CHECK(point.at_rest());
}

/// After ticks that a robot missed, its brake before a wall may have become late: what is left of the change goes there.
void a_brake_that_is_late_goes_before_what_is_wanted_elsewhere()
{
    const Bounds<3> bounds = box();
    const Vec3 position{{0.0, 0.0, 0.25}};
    const double up = braking_speed(bounds.high[2] - position[2], bounds.wall_cut, kTick_s);
    for (const double late : {0.0, 1.2, 1.7, 3.0}) {
        const Vec3 velocity{{0.3, -0.3, up + late * bounds.wall_cut}};
        const Vec3 next = allowed(velocity, {{-0.3, 0.3, velocity[2]}}, position, bounds);
        CHECK(norm(next - velocity) <= bounds.cut * (1.0 + 1e-12));
        CHECK(next[2] <= std::max(up, velocity[2] - bounds.cut) + 1e-12);
    }
}

/// In a corner several brakes can be late at once; one that is in time needs wall_cut, and has it.
void a_late_brake_takes_nothing_from_one_that_is_in_time()
{
    const double longest = 8e-3, own = longest / std::sqrt(3.0);
    const double parts[] = {0.0, 0.5 * own, own, 2.0 * own, 1.0};
    for (const double x : parts) {
        for (const double y : parts) {
            for (const double z : parts) {
                const Vec3 asked{{x, -y, z}}, given = levelled(asked, longest);
                CHECK(norm(given) <= longest * (1.0 + 1e-12));
                CHECK(norm(asked) > longest ? norm(given) > longest * (1.0 - 1e-12) : norm(given - asked) == 0.0);
                for (int i = 0; i < 3; ++i) {
                    CHECK(std::fabs(given[i]) >= std::min(std::fabs(asked[i]), own * (1.0 - 1e-12)));
                    CHECK(std::fabs(given[i]) <= std::fabs(asked[i]) && given[i] * asked[i] >= 0.0);
                }
            }
        }
    }
}

void a_goal_at_rest_is_reached_without_overshoot_and_soon()
{
    Bounds<3> bounds = box();
    bounds.high = {{9.0, 9.0, 9.0}};
    PointFollower<3> point;
    point.reset({}, bounds);
    int ticks = 0;
    do {
        point.follow({{0.5, 0.25, 0.0}}, 10.0, nullptr, Tick::kHeard);
        CHECK(point.commanded().position[0] <= 0.5 + 1e-8);
        ++ticks;
    } while (!point.at_rest() && ticks < 5000);
    CHECK(std::fabs(point.commanded().position[0] - 0.5) <= 1e-8);
    // The fastest there is, with acceleration 8 and speed 1: 0.559 m take 0.559 + 0.125 s.
    CHECK(ticks < 1.1 * 684);
}

void a_moving_goal_is_followed_without_lag_but_the_average()
{
    Bounds<3> bounds = box();
    bounds.high = {{9.0, 9.0, 9.0}};
    PointFollower<3> point;
    point.reset({}, bounds);
    for (int i = 1; i <= 1000; ++i) {
        point.follow({{0.3e-3 * i, 0.0, 0.0}}, 10.0, nullptr, Tick::kHeard);
    }
    CHECK(std::fabs(point.commanded().position[0] - 0.3e-3 * (1000 - 1.5)) <= 1e-9);
}

}  // namespace

int main()
{
    a_brake_from_the_braking_speed_ends_where_it_should();
    an_average_holds_back_what_it_says();
    full_speed_into_a_corner_stops_in_it();
    a_brake_that_is_late_goes_before_what_is_wanted_elsewhere();
    a_late_brake_takes_nothing_from_one_that_is_in_time();
    a_goal_at_rest_is_reached_without_overshoot_and_soon();
    a_moving_goal_is_followed_without_lag_but_the_average();
    return 0;
}

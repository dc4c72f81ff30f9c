// Quaternions, and an orientation that follows its goal.
#include "player/rotation.h"

#include <random>

#include "check.h"
#include "player/rig.h"

namespace {

using namespace st4vla::player;

double angle_between(const Quaternion &a, const Quaternion &b) { return norm(to_vector(a * conjugate(b))); }

void vectors_matrices_and_quaternions_agree()
{
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> any(-1.0, 1.0);
    for (int i = 0; i < 20000; ++i) {
        const double length = i % 4 == 0 ? 1e-6 : i % 4 == 1 ? 3.14159 : 3.0 * std::fabs(any(random));
        Vec3 vector{{any(random), any(random), any(random)}};
        vector = vector * (length / norm(vector));
        const Quaternion q = from_vector(vector);
        CHECK(norm(to_vector(q) - vector) <= 1e-9 * (1.0 + length));
        double matrix[9];
        to_matrix(q, matrix, 3);
        CHECK(is_rotation(matrix, 3, 1e-12));
        CHECK(angle_between(from_matrix(matrix, 3), q) <= 1e-7);
        matrix[i % 9] += 1e-3;
        CHECK(!is_rotation(matrix, 3, 1e-5));
    }
    const double mirror[9] = {-1, 0, 0, 0, 1, 0, 0, 0, 1}, broken[9] = {std::nan(""), 0, 0, 0, 1, 0, 0, 0, 1};
    CHECK(!is_rotation(mirror, 3, 1e-5) && !is_rotation(broken, 3, 1e-5));
}

void turns_are_in_the_base_frame_one_after_another()
{
    const st4vla_player_config config = default_config();
    Rig rig(config);
    rig.step();
    // Ten actions about the base's x, then ten about its z: exp(z) exp(x) R, in this order.
    MadeChunk chunk = made_chunk(config, 1, rig.now_ns() + 30 * kMs, 20, {0, 0, 0, 0.05F, 0, 0, 1});
    for (int k = 10; k < 20; ++k) {
        chunk.actions[7 * k + 3] = 0.0F;
        chunk.actions[7 * k + 5] = 0.03F;
    }
    chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns();
    Rig *const r = &rig;
    CHECK(r->put(chunk) == ST4VLA_PLAYER_OK);
    for (int ms = 0; ms < 1200; ++ms) {
        if (ms % 100 == 99) {
            // The same chunk with a newer frame: nothing of the path changes.
            chunk.header.observation_sequence += 1;
            chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = r->now_ns();
            CHECK(r->put(chunk) == ST4VLA_PLAYER_OK);
        }
        r->step();
    }
    CHECK(r->setpoint.at_rest == 1);
    const Quaternion wanted = from_vector({{0, 0, 0.3}}) * from_vector({{0.5, 0, 0}}) * from_matrix(kHome, 4);
    // In the period in between both turns overlap; then the order of turns is not quite that of the actions.
    CHECK(angle_between(from_matrix(r->setpoint.base_T_ee, 4), wanted) <= 1e-3);
    CHECK(r->check.rotation.fastest >= 0.99);
}

}  // namespace

int main()
{
    vectors_matrices_and_quaternions_agree();
    turns_are_in_the_base_frame_one_after_another();
    return 0;
}

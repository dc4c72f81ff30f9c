// A step, a put and every other call but create touch the heap not once: here, whoever does ends the test.
#include <unistd.h>

#include <cstddef>
#include <new>

#include "player/rig.h"

extern "C" {
void *__libc_malloc(std::size_t);
void *__libc_calloc(std::size_t, std::size_t);
void *__libc_realloc(void *, std::size_t);
void *__libc_memalign(std::size_t, std::size_t);
void __libc_free(void *);
}

namespace {

bool trapped = false;
int trips = 0;

void trip() { trips += trapped ? 1 : 0; }

}  // namespace

// What malloc, and the operators new and delete through it, call in this program.
extern "C" {
void *malloc(std::size_t size)
{
    trip();
    return __libc_malloc(size);
}
void *calloc(std::size_t count, std::size_t size)
{
    trip();
    return __libc_calloc(count, size);
}
void *realloc(void *pointer, std::size_t size)
{
    trip();
    return __libc_realloc(pointer, size);
}
void *aligned_alloc(std::size_t alignment, std::size_t size)
{
    trip();
    return __libc_memalign(alignment, size);
}
void free(void *pointer)
{
    trip();
    __libc_free(pointer);
}
}

int main()
{
    using namespace st4vla::player;

    // The trap itself works, for C and for C++.
    trapped = true;
    void *volatile pointer = malloc(10);
    free(pointer);
    char *volatile bytes = new char[10];
    delete[] bytes;
    trapped = false;
    CHECK(trips == 4);
    trips = 0;

    const st4vla_action all[] = {ST4VLA_ACTION_EE_DELTA, ST4VLA_ACTION_JOINT_DELTA, ST4VLA_ACTION_JOINT_POSITION};
    for (const st4vla_action action : all) {
        const st4vla_player_config config = default_config(action);
        Rig rig(config);
        MadeChunk chunk = made_chunk(config, 1, rig.now_ns(), 16, std::vector<float>(config.action_dim, 0.01F));
        st4vla_player_report report;
        trapped = true;
        for (int ms = 0; ms < 3000; ++ms) {
            if (ms < 1500 && ms % 50 == 0) {
                chunk.header.observation_sequence += 1;
                chunk.header.start_ns = chunk.header.frame_capture_ns = chunk.header.plan_capture_ns = rig.now_ns();
                rig.put(chunk);
            }
            if (ms == 2500) {
                st4vla_player_resume(rig.player);
                st4vla_player_anchor(rig.player, kHome, kReady);
                rig.check.restart();
            }
            st4vla_player_read(rig.player, &report);
            rig.step();
        }
        st4vla_player_stop(rig.player);
        rig.step();
        trapped = false;
        CHECK(report.stops == 1 && report.chunks_played >= 29);
    }
    CHECK(trips == 0);
    return 0;
}

// Which chunks are let in, and by which counter the others are known.
#include "bridge/intake.h"

#include <cstdint>
#include <limits>
#include <memory>

#include "check.h"

namespace {

constexpr int64_t kNowNs = 1'000'000'000, kMaxAgeNs = 100'000'000;
constexpr uint64_t kSent = 100;

class Trial {
public:
    explicit Trial(int64_t max_age_ns = 0) : intake(max_age_ns) {}

    st4vla_counter chunk(uint64_t chunk_id, uint64_t observation, int64_t captured_ns = kNowNs - 50'000'000)
    {
        chunk_->body.chunk_id = chunk_id;
        chunk_->body.observation_sequence = observation;
        chunk_->body.observation_sent_ns = captured_ns;
        chunk_->body.frame_capture_ns = captured_ns;
        return intake.judge(*chunk_, kNowNs, kSent);
    }

    st4vla::Intake intake;

private:
    std::unique_ptr<st4vla_chunk> chunk_ = std::make_unique<st4vla_chunk>();
};

void rising_chunks_are_let_in_and_older_ones_are_not()
{
    Trial trial;
    CHECK(trial.chunk(1, 10) == ST4VLA_CHUNKS_RECEIVED && !trial.intake.restarted());
    CHECK(trial.chunk(2, 12) == ST4VLA_CHUNKS_RECEIVED);
    CHECK(trial.chunk(2, 12) == ST4VLA_CHUNKS_REFUSED_OLD);
    CHECK(trial.chunk(1, 10) == ST4VLA_CHUNKS_REFUSED_OLD);
    CHECK(trial.chunk(3, 11) == ST4VLA_CHUNKS_REFUSED_OLD);
    CHECK(trial.chunk(3, 12) == ST4VLA_CHUNKS_RECEIVED);
}

void server_that_begins_anew_is_followed()
{
    Trial trial;
    CHECK(trial.chunk(5000, 10) == ST4VLA_CHUNKS_RECEIVED && !trial.intake.restarted());
    CHECK(trial.chunk(1, 11) == ST4VLA_CHUNKS_RECEIVED && trial.intake.restarted());
    CHECK(trial.chunk(2, 12) == ST4VLA_CHUNKS_RECEIVED && !trial.intake.restarted());
}

void answers_to_nothing_and_times_to_come_are_impossible()
{
    Trial trial;
    CHECK(trial.chunk(1, kSent + 1) == ST4VLA_CHUNKS_REFUSED_IMPOSSIBLE);
    CHECK(trial.chunk(1, 10, kNowNs + 1) == ST4VLA_CHUNKS_REFUSED_IMPOSSIBLE);
    CHECK(trial.chunk(1, kSent) == ST4VLA_CHUNKS_RECEIVED);
}

void frames_that_are_too_old_are_late()
{
    Trial trial(kMaxAgeNs);
    CHECK(trial.chunk(1, 10, kNowNs - kMaxAgeNs - 1) == ST4VLA_CHUNKS_REFUSED_LATE);
    CHECK(trial.chunk(1, 10, kNowNs - kMaxAgeNs) == ST4VLA_CHUNKS_RECEIVED);
    CHECK(trial.chunk(2, 11, std::numeric_limits<int64_t>::min()) == ST4VLA_CHUNKS_REFUSED_LATE);
    Trial any;
    CHECK(any.chunk(1, 10, std::numeric_limits<int64_t>::min()) == ST4VLA_CHUNKS_RECEIVED);
}

}  // namespace

int main()
{
    rising_chunks_are_let_in_and_older_ones_are_not();
    server_that_begins_anew_is_followed();
    answers_to_nothing_and_times_to_come_are_impossible();
    frames_that_are_too_old_are_late();
    return 0;
}

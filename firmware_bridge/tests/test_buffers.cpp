// Buffers that go round here, and those that a reader in another process has for a while.
#include "bridge/buffers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "check.h"
#include "st4vla/wire.h"

namespace {

using st4vla::Buffer;
using st4vla::Buffers;
using st4vla::Loan;

constexpr std::size_t kSize = 1000;

/// What the other process sees of one memory.
class Theirs {
public:
    explicit Theirs(int descriptor)
        : bytes_(static_cast<unsigned char *>(
              mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)))
    {
        CHECK(bytes_ != MAP_FAILED);
    }
    ~Theirs() { munmap(bytes_, kLength); }
    Theirs(const Theirs &) = delete;
    Theirs &operator=(const Theirs &) = delete;

    bool is_lent() const { return bytes_[0] == 1; }
    void give_back() { bytes_[0] = 0; }
    unsigned char first() const { return bytes_[ST4VLA_VIEW_ALIGNMENT]; }

private:
    static constexpr std::size_t kLength = ST4VLA_VIEW_ALIGNMENT + kSize;
    unsigned char *bytes_;
};

void a_buffer_is_one_persons_and_begins_where_a_picture_may()
{
    for (const bool shared : {false, true}) {
        Buffers buffers;
        if (shared) {
            buffers.share();
        }
        std::set<unsigned char *> taken;
        Buffer *last = nullptr;
        while (Buffer *buffer = buffers.take(kSize)) {
            last = buffer;
            CHECK(reinterpret_cast<std::uintptr_t>(buffer->bytes()) % ST4VLA_VIEW_ALIGNMENT == 0);
            std::memset(buffer->bytes(), 1, kSize);
            CHECK(taken.insert(buffer->bytes()).second);
        }
        CHECK(taken.size() == 8 && buffers.grown() == 8);
        last->release();
        CHECK(buffers.take(kSize / 2) == last && buffers.grown() == 8);
        last->release();
        CHECK(buffers.take(kSize * 2) == last && buffers.grown() == 9);
    }
}

void what_is_lent_is_not_taken_before_it_is_given_back()
{
    Buffers buffers;
    buffers.share();
    buffers.begin_reader();
    Buffer *first = buffers.take(kSize);
    first->bytes()[0] = 42;
    const auto loan = buffers.lend(first->bytes());
    CHECK(loan && loan->index == 0 && loan->descriptor >= 0);
    Theirs theirs(loan->descriptor);
    CHECK(theirs.is_lent() && theirs.first() == 42);
    buffers.told(*loan, true);
    first->release();
    Buffer *second = buffers.take(kSize);
    CHECK(second != first);
    second->release();
    theirs.give_back();
    CHECK(buffers.take(kSize) == first);
    CHECK(buffers.grown() == 2);
}

void a_reader_gets_each_memory_once()
{
    Buffers buffers;
    buffers.share();
    buffers.begin_reader();
    Buffer *buffer = buffers.take(kSize);
    auto loan = buffers.lend(buffer->bytes());
    CHECK(loan->descriptor >= 0);
    buffers.told(*loan, false);
    loan = buffers.lend(buffer->bytes());
    CHECK(loan->descriptor >= 0);
    Theirs theirs(loan->descriptor);
    buffers.told(*loan, true);
    theirs.give_back();
    loan = buffers.lend(buffer->bytes());
    CHECK(loan->descriptor < 0);
    buffers.told(*loan, true);
    // Grown, it is another memory.
    theirs.give_back();
    buffer->release();
    CHECK(buffers.take(kSize * 2) == buffer);
    CHECK(buffers.lend(buffer->bytes())->descriptor >= 0);
}

void a_loan_that_nobody_heard_of_is_off()
{
    Buffers buffers;
    buffers.share();
    buffers.begin_reader();
    Buffer *buffer = buffers.take(kSize);
    buffers.told(*buffers.lend(buffer->bytes()), false);
    buffer->release();
    CHECK(buffers.take(kSize) == buffer && buffers.grown() == 1);
}

void what_a_reader_had_that_is_gone_is_never_written_again()
{
    Buffers buffers;
    buffers.share();
    buffers.begin_reader();
    Buffer *buffer = buffers.take(kSize);
    buffer->bytes()[0] = 42;
    const auto loan = buffers.lend(buffer->bytes());
    const int kept = dup(loan->descriptor);
    buffers.told(*loan, true);
    buffer->release();
    buffers.begin_reader();
    CHECK(buffers.take(kSize) == buffer && buffers.grown() == 2);
    buffer->bytes()[0] = 7;
    const Theirs theirs(kept);
    CHECK(theirs.first() == 42);
    CHECK(buffers.lend(buffer->bytes())->descriptor >= 0);
    close(kept);
}

void a_reader_that_comes_gets_what_the_one_before_gave_back()
{
    Buffers buffers;
    buffers.share();
    buffers.begin_reader();
    Buffer *buffer = buffers.take(kSize);
    auto loan = buffers.lend(buffer->bytes());
    Theirs(loan->descriptor).give_back();
    buffers.told(*loan, true);
    buffer->release();
    buffers.begin_reader();
    CHECK(buffers.take(kSize) == buffer && buffers.grown() == 1);
    loan = buffers.lend(buffer->bytes());
    CHECK(loan->descriptor >= 0);
}

void nobody_lends_what_is_not_a_buffer()
{
    Buffers buffers;
    buffers.share();
    const unsigned char hello = 0;
    CHECK(!buffers.lend(&hello));
    CHECK(!buffers.lend(nullptr));
}

}  // namespace

int main()
{
    a_buffer_is_one_persons_and_begins_where_a_picture_may();
    what_is_lent_is_not_taken_before_it_is_given_back();
    a_reader_gets_each_memory_once();
    a_loan_that_nobody_heard_of_is_off();
    what_a_reader_had_that_is_gone_is_never_written_again();
    a_reader_that_comes_gets_what_the_one_before_gave_back();
    nobody_lends_what_is_not_a_buffer();
    return 0;
}

// The hand, the faults of the cable and the command line, without a network.
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "../../tests/check.h"
#include "hand.h"
#include "link_faults.h"
#include "options.h"

using namespace virtual_franka;

namespace {

/// Let the hand move until something ends; returns what, and fails after ten seconds.
Hand::Ended wait(Hand &hand)
{
    for (int i = 0; i < 10000; ++i) {
        if (const auto ended = hand.advance()) {
            return *ended;
        }
    }
    CHECK(!"the hand never ends");
    return {};
}

void it_opens_and_closes()
{
    Hand hand;
    CHECK(!hand.move(1, {0.02, 0.05}));
    int periods = 0;
    while (!hand.advance()) {
        ++periods;
    }
    CHECK(std::abs(periods - 1200) <= 1 && hand.width() == 0.02);
    CHECK(hand.move(2, {0.5, 0.1})->status == GripperStatus::kFail);
    CHECK(hand.move(2, {0.05, 0.0})->status == GripperStatus::kFail);
    CHECK(!hand.home(3) && wait(hand).status == GripperStatus::kSuccess && hand.width() == 0.08);
}

void it_grasps_what_is_there()
{
    Hand hand;
    hand.place_object(0.03);
    CHECK(!hand.grasp(1, {0.03, 0.005, 0.005, 0.1, 20.0}) && wait(hand).status == GripperStatus::kSuccess);
    CHECK(hand.is_grasped() && hand.width() == 0.03);
    CHECK(!hand.move(2, {0.08, 0.1}) && wait(hand).status == GripperStatus::kSuccess && !hand.is_grasped());
    CHECK(!hand.grasp(3, {0.01, 0.005, 0.005, 0.1, 20.0}) && wait(hand).status == GripperStatus::kUnsuccessful);
    CHECK(!hand.move(4, {0.01, 0.1}) && wait(hand).status == GripperStatus::kUnsuccessful);
    CHECK(hand.grasp(5, {0.01, 0.005, 0.005, 0.1, 1000.0})->status == GripperStatus::kFail);
}

void what_comes_next_interrupts()
{
    Hand hand;
    CHECK(!hand.interrupt());
    hand.move(1, {0.0, 0.01});
    hand.advance();
    const auto ended = hand.interrupt();
    CHECK(ended && ended->id == 1 && ended->status == GripperStatus::kAborted && !hand.advance());
}

void packets_are_lost_and_late()
{
    LinkFaults faults;
    faults.lose_commands(2);
    CommandMessage command{};
    for (uint64_t now = 1; now <= 3; ++now) {
        command.message_id = now;
        faults.take(command, now);
        CHECK(faults.next(now).has_value() == (now == 3));
    }
    faults.delay_commands(1, 5);
    faults.take(command, 10);
    CHECK(!faults.next(14) && faults.next(15) && !faults.next(15));
    faults.lose_states(1);
    CHECK(faults.swallows_state() && !faults.swallows_state());
    faults.set_unplugged(true);
    faults.take(command, 20);
    CHECK(faults.swallows_state() && !faults.next(20));
}

void wrong_command_lines_are_explained()
{
    const auto wrong = [](std::initializer_list<const char *> words) {
        std::vector<const char *> line = {"st4vla-virtual-franka"};
        line.insert(line.end(), words);
        try {
            parse_options(static_cast<int>(line.size()), line.data());
        } catch (const UsageError &error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK(wrong({"--robot", "kuka"}).find("fr3, panda") != std::string::npos);
    CHECK(wrong({"--q", "1,2"}).find("seven") != std::string::npos);
    CHECK(wrong({"--q", "0,0,0,0,0,1,0"}).find("joint 4") != std::string::npos);
    CHECK(wrong({"--bind"}).find("value") != std::string::npos);
    CHECK(wrong({"--seconds", "soon"}).find("number") != std::string::npos);
    CHECK(wrong({"--fast"}).find("--help") != std::string::npos);
    CHECK(wrong({"--robot", "panda", "--publish-every", "20", "--q", "0,0,0,-2,0,1,0"}).empty());
}

}  // namespace

int main()
{
    it_opens_and_closes();
    it_grasps_what_is_there();
    what_comes_next_interrupts();
    packets_are_lost_and_late();
    wrong_command_lines_are_explained();
    return 0;
}

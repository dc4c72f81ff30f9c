// The Franka Hand: two fingers that move at a speed until they are there, or until something is between them.
#pragma once

#include <algorithm>
#include <optional>

#include "gripper_messages.h"

namespace virtual_franka {

class Hand {
public:
    /// What ended, with its status.
    struct Ended {
        GripperRequest request;
        uint32_t id;
        GripperStatus status;
    };

    // A command that is refused, or one that another interrupts, ends with a status at once.
    std::optional<Ended> home(uint32_t id);
    std::optional<Ended> move(uint32_t id, const GripperMoveRequest &request);
    std::optional<Ended> grasp(uint32_t id, const GraspRequest &request);
    std::optional<Ended> interrupt();

    /// Move on by one period of `kPeriod`.
    std::optional<Ended> advance();

    /// Put an object between the fingers, or take it out (0): its width, m. Fingers that are nearer make room for it.
    void place_object(double width) { object_ = width, width_ = std::max(width_, width); }

    double width() const { return width_; }
    bool is_grasped() const { return grasped_; }

private:
    struct Command {
        GripperRequest request;
        uint32_t id;
        double target, speed;
        GraspRequest grasp;
        bool opening_again;
    };
    std::optional<Ended> end(GripperStatus status);
    std::optional<Ended> arrive(bool blocked);

    std::optional<Command> command_;
    double width_ = 0.08, object_ = 0.0;
    bool grasped_ = false;
};

}  // namespace virtual_franka

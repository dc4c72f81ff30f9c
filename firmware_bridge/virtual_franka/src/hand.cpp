#include "hand.h"

#include <algorithm>
#include <cmath>

#include "arm.h"

namespace virtual_franka {
namespace {

constexpr double kFastest = 0.1;  ///< m/s between the fingers
constexpr double kStrongest = 140.0;  ///< N for a moment; 70 N continuously

bool valid(double width, double speed)
{
    return width >= 0.0 && width <= kHandWidth && speed > 0.0 && std::isfinite(speed);
}

}  // namespace

std::optional<Hand::Ended> Hand::home(uint32_t id)
{
    command_ = Command{GripperRequest::kHoming, id, 0.0, kFastest, {}, false};
    grasped_ = false;
    return std::nullopt;
}

std::optional<Hand::Ended> Hand::move(uint32_t id, const GripperMoveRequest &request)
{
    if (!valid(request.width, request.speed)) {
        return Ended{GripperRequest::kMove, id, GripperStatus::kFail};
    }
    command_ = Command{GripperRequest::kMove, id, request.width, std::min(request.speed, kFastest), {}, false};
    grasped_ = false;
    return std::nullopt;
}

std::optional<Hand::Ended> Hand::grasp(uint32_t id, const GraspRequest &request)
{
    if (!valid(request.width, request.speed) || !(request.force > 0.0 && request.force <= kStrongest) ||
        !(request.epsilon_inner >= 0.0 && request.epsilon_outer >= 0.0)) {
        return Ended{GripperRequest::kGrasp, id, GripperStatus::kFail};
    }
    command_ = Command{GripperRequest::kGrasp, id, 0.0, std::min(request.speed, kFastest), request, false};
    grasped_ = false;
    return std::nullopt;
}

std::optional<Hand::Ended> Hand::interrupt() { return command_ ? end(GripperStatus::kAborted) : std::nullopt; }

std::optional<Hand::Ended> Hand::advance()
{
    if (!command_) {
        return std::nullopt;
    }
    const double step = command_->speed * kPeriod, gap = command_->target - width_;
    const double wanted = std::fabs(gap) <= step ? command_->target : width_ + std::copysign(step, gap);
    // An object stops fingers that close on it; it does not stop them from opening.
    const bool blocked = wanted < object_ && wanted < width_;
    width_ = blocked ? std::min(width_, std::max(object_, wanted)) : wanted;
    return blocked || width_ == command_->target ? arrive(blocked) : std::nullopt;
}

std::optional<Hand::Ended> Hand::arrive(bool blocked)
{
    switch (command_->request) {
    case GripperRequest::kHoming:
        if (blocked) {
            return end(GripperStatus::kUnsuccessful);
        }
        if (!command_->opening_again) {
            command_->opening_again = true;
            command_->target = kHandWidth;
            return std::nullopt;
        }
        return end(GripperStatus::kSuccess);
    case GripperRequest::kGrasp: {
        const GraspRequest &wanted = command_->grasp;
        grasped_ = width_ > wanted.width - wanted.epsilon_inner && width_ < wanted.width + wanted.epsilon_outer;
        return end(grasped_ ? GripperStatus::kSuccess : GripperStatus::kUnsuccessful);
    }
    default:
        return end(blocked ? GripperStatus::kUnsuccessful : GripperStatus::kSuccess);
    }
}

std::optional<Hand::Ended> Hand::end(GripperStatus status)
{
    const Ended out = {command_->request, command_->id, status};
    command_.reset();
    return out;
}

}  // namespace virtual_franka

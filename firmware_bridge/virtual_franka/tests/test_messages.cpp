// Layouts of the interface's messages: sizes, and where members begin, as version 10 of the interface has them.
#include <cstddef>
#include <cstring>

#include "../../tests/check.h"
#include "errors.h"
#include "fci_messages.h"
#include "gripper_messages.h"

using namespace virtual_franka;

namespace {

void requests_have_their_sizes()
{
    CHECK(sizeof(RequestHeader) == 12);
    CHECK(sizeof(RequestHeader) + sizeof(ConnectRequest) == 16);
    CHECK(sizeof(RequestHeader) + sizeof(ConnectReply) == 15);
    CHECK(sizeof(RequestHeader) + sizeof(MoveRequest) == 125);
    CHECK(sizeof(CollisionBehavior) == 416);
    CHECK(sizeof(GuidingMode) == 7);
    CHECK(sizeof(Load) == 104);
    CHECK(offsetof(MoveRequest, asynchronous) == 56 && offsetof(MoveRequest, maximum_velocity) == 57);
}

void the_state_has_its_layout()
{
    CHECK(sizeof(StateMessage) == 1377);
    CHECK(offsetof(StateMessage, O_T_EE) == 8);
    CHECK(offsetof(StateMessage, m_ee) == 8 + 6 * 64);
    CHECK(offsetof(StateMessage, elbow) == 392 + 2 * 52);
    CHECK(offsetof(StateMessage, q) == 512 + 3 * 28);
    CHECK(offsetof(StateMessage, theta) == 1377 - 4 - 1 - 82 - 2 - 2 * 72 - 2 * 28);
    CHECK(offsetof(StateMessage, generator) == 1377 - 4 - 1 - 82 - 2);
    CHECK(offsetof(StateMessage, mode) == 1372);
}

void the_command_has_its_layout()
{
    CHECK(sizeof(CommandMessage) == 371);
    CHECK(offsetof(CommandMessage, q_c) == 8);
    CHECK(offsetof(CommandMessage, valid_elbow) == 8 + 8 * (7 + 7 + 16 + 6 + 2));
    CHECK(offsetof(CommandMessage, tau_J_d) == 314);
    CHECK(offsetof(CommandMessage, torque_finished) == 370);
}

void the_gripper_has_its_own()
{
    CHECK(sizeof(GripperHeader) == 10);
    CHECK(sizeof(GripperHeader) + sizeof(GraspRequest) == 50);
    CHECK(sizeof(GripperHeader) + sizeof(GripperMoveRequest) == 26);
    CHECK(sizeof(GripperStateMessage) == 23);
}

void numbers_are_those_of_the_interface()
{
    CHECK(static_cast<int>(Request::kMove) == 1 && static_cast<int>(Request::kGetRobotModel) == 11);
    CHECK(static_cast<int>(MoveStatus::kReflexAborted) == 8 && static_cast<int>(MoveStatus::kAborted) == 11);
    CHECK(static_cast<int>(RobotMode::kUserStopped) == 5);
    CHECK(static_cast<int>(Error::kCommunicationConstraints) == 25);
    CHECK(static_cast<int>(Error::kBaseAccelerationInvalid) == kErrorCount - 1);
    CHECK(!std::strcmp(error_name(Error::kCommunicationConstraints), "communication_constraints_violation"));
    CHECK(error_named("tau_J_range_violation") == Error::kTauJRange && !error_named("no_such_error"));
    Errors errors;
    set(errors, Error::kJointReflex);
    set(errors, Error::kCartesianReflex);
    CHECK(error_names(errors) == "[\"joint_reflex\", \"cartesian_reflex\"]" && error_names({}) == "[]");
}

}  // namespace

int main()
{
    requests_have_their_sizes();
    the_state_has_its_layout();
    the_command_has_its_layout();
    the_gripper_has_its_own();
    numbers_are_those_of_the_interface();
    return 0;
}

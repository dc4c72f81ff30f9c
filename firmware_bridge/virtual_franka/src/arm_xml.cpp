// The arm's two descriptions, from the table of its links.
#include <cstdarg>
#include <cstdio>

#include "arm.h"

namespace virtual_franka {
namespace {

/// How far the mechanical stops are beyond the limits of what may be commanded, rad.
constexpr double kStopMargin = 0.05;
constexpr double kQuarter = 1.57079632679489662;

/// Append as printf would.
__attribute__((format(printf, 2, 3))) void put(std::string &out, const char *format, ...)
{
    char text[1024];
    va_list values;
    va_start(values, format);
    std::vsnprintf(text, sizeof text, format, values);
    va_end(values);
    out += text;
}

/// What a link looks like and touches with: capsules between two points of its frame, m.
struct Capsule {
    int link;
    double radius;
    Vector3 from, to;
};
constexpr Capsule kCapsules[] = {
    {0, 0.060, {0.0, 0.0, -0.193}, {0.0, 0.0, 0.0}},       {0, 0.060, {0.0, -0.06, 0.0}, {0.0, 0.06, 0.0}},
    {1, 0.060, {0.0, -0.193, 0.0}, {0.0, 0.0, 0.0}},       {2, 0.055, {0.0, 0.0, -0.10}, {0.0, 0.0, 0.0}},
    {2, 0.050, {0.0825, 0.0, -0.05}, {0.0825, 0.0, 0.05}}, {3, 0.055, {-0.0825, 0.06, 0.0}, {-0.0825, 0.12, 0.0}},
    {4, 0.055, {0.0, 0.0, -0.26}, {0.0, 0.0, -0.20}},      {4, 0.045, {0.0, 0.06, -0.20}, {0.0, 0.08, -0.01}},
    {5, 0.045, {0.0, 0.0, -0.04}, {0.0, 0.0, 0.03}},       {5, 0.045, {0.088, 0.0, 0.0}, {0.088, 0.02, 0.0}},
    {6, 0.040, {0.0, 0.0, 0.02}, {0.0, 0.0, 0.07}},
};

void put_body(std::string &out, const char *name, double mass, const Vector3 &centre,
              const std::array<double, 6> &inertia)
{
    put(out, "<inertial mass=\"%.17g\" pos=\"%.17g %.17g %.17g\" ", mass, centre[0], centre[1], centre[2]);
    put(out, "fullinertia=\"%.17g %.17g %.17g %.17g %.17g %.17g\"/><!-- %s -->\n", inertia[0], inertia[1], inertia[2],
        inertia[3], inertia[4], inertia[5], name);
}

/// The hand and its fingers. Fingers are moved, not driven, and without a weight that the arm would feel.
void put_hand(std::string &out)
{
    const auto &inertia = kHand.inertia;
    put(out, "<body name=\"flange\" pos=\"0 0 %.17g\">\n", kFlangeOffset);
    put_body(out, "hand", kHand.mass, kHand.centre,
             {inertia[0], inertia[4], inertia[8], inertia[3], inertia[6], inertia[7]});
    put(out, "<geom class=\"arm\" type=\"box\" size=\"0.02 0.1 0.033\" pos=\"0 0 0.033\" euler=\"0 0 -0.785398\"/>\n"
             "<body name=\"payload\" pos=\"0 0 0.1034\"><inertial mass=\"1e-6\" pos=\"0 0 0\" "
             "diaginertia=\"1e-9 1e-9 1e-9\"/></body>\n"
             "<body name=\"hand\" euler=\"0 0 -0.785398163397448\">\n");
    for (const int side : {1, -1}) {
        put(out, "<body name=\"finger_%s\" pos=\"0 0 0.0584\">", side > 0 ? "left" : "right");
        put(out, "<joint name=\"finger_%s\" type=\"slide\" axis=\"0 %d 0\" range=\"0 0.04\"/>",
            side > 0 ? "left" : "right", side);
        put(out,
            "<inertial mass=\"1e-5\" pos=\"0 0 0.02\" diaginertia=\"1e-9 1e-9 1e-9\"/>"
            "<geom class=\"arm\" type=\"box\" size=\"0.01 0.008 0.027\" pos=\"0 %g 0.027\" rgba=\".2 .2 .2 1\"/>"
            "</body>\n",
            0.008 * side);
    }
    out += "</body>\n</body>\n";
}

}  // namespace

std::string arm_mjcf(const Limits &limits, double floor)
{
    std::string out;
    put(out, "<mujoco model=\"%s\">\n", limits.name);
    put(out,
        "<compiler angle=\"radian\" autolimits=\"true\"/>\n"
        "<option timestep=\"%g\" integrator=\"implicitfast\" gravity=\"0 0 -9.81\"/>\n",
        kPeriod);
    // What the arm touches is the world, never itself.
    out += "<default><default class=\"arm\"><geom contype=\"1\" conaffinity=\"2\" rgba=\".9 .9 .9 1\"/></default>"
           "<default class=\"world\"><geom contype=\"2\" conaffinity=\"1\"/></default></default>\n<worldbody>\n"
           "<light pos=\"0.5 -0.5 2\" dir=\"0 0.2 -1\"/>\n"
           "<camera name=\"front\" pos=\"1.6 0 0.9\" xyaxes=\"0 1 0 -0.45 0 0.9\"/>\n";
    put(out,
        "<geom name=\"floor\" class=\"world\" type=\"plane\" size=\"3 3 0.1\" pos=\"0 0 %g\" "
        "rgba=\".5 .45 .4 1\"/>\n",
        floor);
    out += "<geom type=\"cylinder\" size=\"0.07 0.07\" pos=\"0 0 0.07\" contype=\"0\" conaffinity=\"0\"/>\n";
    for (int i = 0; i < kJoints; ++i) {
        const Link &link = kLinks[i];
        put(out, "<body name=\"link%d\" pos=\"%.17g %.17g %.17g\" ", i + 1, link.origin[0], link.origin[1],
            link.origin[2]);
        put(out, "euler=\"%.17g 0 0\">\n", kQuarter * link.quarter_turns);
        put(out, "<joint name=\"joint%d\" axis=\"0 0 1\" range=\"%.17g %.17g\" armature=\"%.17g\" damping=\"%g\"/>\n",
            i + 1, limits.lower[i] - kStopMargin, limits.upper[i] + kStopMargin, kRotorInertia, kJointDamping);
        put_body(out, "link", link.mass, link.centre, link.inertia);
        for (const Capsule &capsule : kCapsules) {
            if (capsule.link == i) {
                put(out, "<geom class=\"arm\" type=\"capsule\" size=\"%g\" fromto=\"%g %g %g %g %g %g\"/>\n",
                    capsule.radius, capsule.from[0], capsule.from[1], capsule.from[2], capsule.to[0], capsule.to[1],
                    capsule.to[2]);
            }
        }
    }
    put_hand(out);
    for (int i = 0; i < kJoints; ++i) {
        out += "</body>\n";
    }
    out += "</worldbody>\n<actuator>\n";
    for (int i = 0; i < kJoints; ++i) {
        put(out, "<motor joint=\"joint%d\" ctrlrange=\"-%g %g\"/>\n", i + 1, limits.torque[i], limits.torque[i]);
    }
    return out + "</actuator>\n</mujoco>\n";
}

std::string arm_urdf(const Limits &limits)
{
    std::string out = "<?xml version=\"1.0\"?>\n";
    put(out,
        "<robot name=\"%s\">\n<link name=\"base\"/>\n<joint name=\"base_joint\" type=\"fixed\">"
        "<parent link=\"base\"/><child link=\"link0\"/></joint>\n<link name=\"link0\"/>\n",
        limits.name);
    for (int i = 0; i < kJoints; ++i) {
        const Link &link = kLinks[i];
        const auto &inertia = link.inertia;
        put(out, "<link name=\"link%d\"><inertial><origin rpy=\"0 0 0\" xyz=\"%.17g %.17g %.17g\"/>", i + 1,
            link.centre[0], link.centre[1], link.centre[2]);
        put(out,
            "<mass value=\"%.17g\"/><inertia ixx=\"%.17g\" iyy=\"%.17g\" izz=\"%.17g\" ixy=\"%.17g\" "
            "ixz=\"%.17g\" iyz=\"%.17g\"/></inertial></link>\n",
            link.mass, inertia[0], inertia[1], inertia[2], inertia[3], inertia[4], inertia[5]);
        put(out, "<joint name=\"joint%d\" type=\"revolute\"><origin rpy=\"%.17g 0 0\" xyz=\"%.17g %.17g %.17g\"/>",
            i + 1, kQuarter * link.quarter_turns, link.origin[0], link.origin[1], link.origin[2]);
        put(out, "<parent link=\"link%d\"/><child link=\"link%d\"/><axis xyz=\"0 0 1\"/>", i, i + 1);
        put(out, "<limit effort=\"%.17g\" lower=\"%.17g\" upper=\"%.17g\" velocity=\"%.17g\"/>", limits.torque[i],
            limits.lower[i], limits.upper[i], limits.velocity[i]);
        put(out, "<position_based_velocity_limits deceleration_limit=\"%.17g\" velocity_offset=\"%.17g\"/></joint>\n",
            limits.deceleration[i], limits.velocity_offset[i]);
    }
    put(out,
        "<link name=\"link8\"/>\n<joint name=\"joint8\" type=\"fixed\"><origin rpy=\"0 0 0\" xyz=\"0 0 %.17g\"/>"
        "<parent link=\"link7\"/><child link=\"link8\"/></joint>\n</robot>\n",
        kFlangeOffset);
    return out;
}

}  // namespace virtual_franka

// What the control socket's words do.
#include <cmath>
#include <cstdio>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>

#include "control_socket.h"

namespace virtual_franka {
namespace {

/// Thrown with what would have been right; `obey` answers with it.
struct Refusal {
    std::string allowed;
};

class Words {
public:
    explicit Words(std::string usage, std::istringstream &line) : usage_(std::move(usage)), line_(line) {}

    double number(double least, double most)
    {
        double out = 0.0;
        if (!(line_ >> out) || !(out >= least && out <= most)) {
            throw Refusal{usage_};
        }
        return out;
    }
    int count(int least, int most)
    {
        const double out = number(least, most);
        if (out != std::floor(out)) {
            throw Refusal{usage_};
        }
        return static_cast<int>(out);
    }
    std::string word()
    {
        std::string out;
        if (!(line_ >> out)) {
            throw Refusal{usage_};
        }
        return out;
    }
    bool on()
    {
        const std::string out = word();
        if (out != "on" && out != "off") {
            throw Refusal{usage_};
        }
        return out == "on";
    }

private:
    std::string usage_;
    std::istringstream &line_;
};

struct Action {
    const char *usage;
    std::function<void(Words &, Controlled &)> run;
};

constexpr int kMostCount = 1000000;

Errors named_errors(Words &words)
{
    const std::string name = words.word();
    const auto error = error_named(name);
    if (!error) {
        Errors all;
        all.set();
        throw Refusal{"reflex NAME, one of " + error_names(all)};
    }
    Errors out;
    set(out, *error);
    return out;
}

const std::map<std::string, Action> &actions()
{
    static const std::map<std::string, Action> all = {
        {"lose",
         {"lose COUNT: the next commands never arrive",
          [](Words &words, Controlled &to) { to.server.faults().lose_commands(words.count(0, kMostCount)); }}},
        {"delay",
         {"delay COUNT MS: the next commands arrive so much later",
          [](Words &words, Controlled &to) {
              const int count = words.count(0, kMostCount);
              to.server.faults().delay_commands(count, words.count(0, 10000));
          }}},
        {"lose_states",
         {"lose_states COUNT: the next states never arrive",
          [](Words &words, Controlled &to) { to.server.faults().lose_states(words.count(0, kMostCount)); }}},
        {"unplug",
         {"unplug: the cable is out", [](Words &, Controlled &to) { to.server.faults().set_unplugged(true); }}},
        {"plug",
         {"plug: the cable is in again", [](Words &, Controlled &to) { to.server.faults().set_unplugged(false); }}},
        {"disconnect",
         {"disconnect: the robot closes its client's connection",
          [](Words &, Controlled &to) { to.server.hang_up(); }}},
        {"reflex",
         {"reflex NAME: an error of the interface, such as joint_reflex",
          [](Words &words, Controlled &to) { to.robot.reflex(named_errors(words)); }}},
        {"user_stop", {"user_stop on|off", [](Words &words, Controlled &to) { to.robot.user_stop(words.on()); }}},
        {"guiding", {"guiding on|off", [](Words &words, Controlled &to) { to.robot.guide(words.on()); }}},
        {"emergency_stop",
         {"emergency_stop: power off, brakes closed", [](Words &, Controlled &to) { to.robot.emergency_stop(); }}},
        {"open_brakes", {"open_brakes: after emergency_stop", [](Words &, Controlled &to) { to.robot.open_brakes(); }}},
        {"push",
         {"push X Y Z MS: a force on the flange in the base's frame, N",
          [](Words &words, Controlled &to) {
              const double x = words.number(-1000, 1000), y = words.number(-1000, 1000), z = words.number(-1000, 1000);
              to.robot.push({x, y, z}, words.count(1, kMostCount));
          }}},
        {"payload",
         {"payload KG: a mass between the fingers",
          [](Words &words, Controlled &to) { to.robot.arm().set_payload(words.number(0, 10)); }}},
        {"object",
         {"object METRES: something of this width between the fingers, 0 for nothing",
          [](Words &words, Controlled &to) { to.hand.place_object(words.number(0, 0.08)); }}},
        {"status", {"status: how the robot is", [](Words &, Controlled &) {}}},
    };
    return all;
}

std::string quoted(const std::string &text)
{
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + "\"";
}

std::ptrdiff_t count_words(const std::string &line)
{
    std::istringstream stream(line);
    return std::distance(std::istream_iterator<std::string>(stream), {});
}

std::string refused(const std::string &allowed) { return "{\"ok\": false, \"error\": " + quoted(allowed) + "}"; }

}  // namespace

std::string describe(const Controlled &controlled)
{
    static constexpr const char *modes[] = {
        "other", "idle", "move", "guiding", "reflex", "user_stopped", "automatic_error_recovery"};
    const Pacer &pacer = controlled.pacer;
    const Robot &robot = controlled.robot;
    char text[512];
    std::snprintf(
        text, sizeof text,
        "\"mode\": \"%s\", \"errors\": %s, \"connected\": %s, \"periods\": %llu, \"missed\": %llu, "
        "\"rate_hz\": %.2f, \"latest_us\": %.0f, \"lost_commands\": %llu, \"tracking_error_rad\": %.3g, \"q\": [",
        modes[static_cast<int>(robot.mode())], error_names(robot.errors()).c_str(),
        controlled.server.connected() ? "true" : "false", static_cast<unsigned long long>(pacer.periods()),
        static_cast<unsigned long long>(pacer.missed()),
        pacer.seconds() > 0.0 ? static_cast<double>(pacer.periods()) / pacer.seconds() : 0.0,
        static_cast<double>(pacer.latest_ns()) * 1e-3, static_cast<unsigned long long>(robot.lost_commands()),
        robot.tracking_error());
    std::string out = text;
    for (int i = 0; i < kJoints; ++i) {
        std::snprintf(text, sizeof text, "%s%.6f", i ? ", " : "", robot.arm().q()[i]);
        out += text;
    }
    return out + "]";
}

std::string obey(const std::string &line, Controlled &controlled)
{
    std::istringstream stream(line);
    std::string name;
    stream >> name;
    const auto action = actions().find(name);
    if (action == actions().end()) {
        std::string known;
        for (const auto &entry : actions()) {
            known += (known.empty() ? "" : ", ") + entry.first;
        }
        return refused("'" + name + "' is unknown; known are " + known);
    }
    try {
        const std::string usage = action->second.usage;
        // Counted first, so that a line with too many words does nothing.
        if (count_words(line) != count_words(usage.substr(0, usage.find(':')))) {
            throw Refusal{usage};
        }
        Words words(usage, stream);
        action->second.run(words, controlled);
    } catch (const Refusal &refusal) {
        return refused(refusal.allowed);
    }
    return "{\"ok\": true" + (name == "status" ? ", " + describe(controlled) : std::string()) + "}";
}

}  // namespace virtual_franka

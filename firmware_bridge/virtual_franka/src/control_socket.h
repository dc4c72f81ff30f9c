// A Unix socket by which faults are injected and the robot is asked how it is: a line of words in, a line of JSON out.
#pragma once

#include <list>
#include <string>

#include "fci_server.h"
#include "hand.h"
#include "pacer.h"

namespace virtual_franka {

/// What words act upon.
struct Controlled {
    Robot &robot;
    FciServer &server;
    Hand &hand;
    const Pacer &pacer;
};

/// Do what a line says. Returns a JSON object: {"ok": true, ...} or {"ok": false, "error": what is allowed}.
std::string obey(const std::string &line, Controlled &controlled);
/// How the robot is, as the members of a JSON object.
std::string describe(const Controlled &controlled);

class ControlSocket {
public:
    explicit ControlSocket(const std::string &path) : path_(path), listener_(listen_unix(path)) {}
    ControlSocket(const ControlSocket &) = delete;
    ControlSocket &operator=(const ControlSocket &) = delete;
    ~ControlSocket();

    void serve(Controlled &controlled);

private:
    std::string path_;
    Socket listener_;
    std::list<Connection> clients_;
};

}  // namespace virtual_franka

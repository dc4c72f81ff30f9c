// Send a moving picture for each view that a runtime wants, and print the actions that come back.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <st4vla/bridge.hpp>

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::fprintf(stderr, "usage: stream_pattern ENDPOINT CHUNKS\n");
        return 2;
    }
    try {
        st4vla::BridgeOptions options;
        options.endpoint = argv[1];
        st4vla::Bridge bridge(options);
        const st4vla_welcome welcome = bridge.hello(std::chrono::seconds(5));
        std::vector<std::string> names;
        for (int i = 0; i < welcome.body.view_count; ++i) {
            names.emplace_back(welcome.views[i].name, strnlen(welcome.views[i].name, sizeof welcome.views[i].name));
        }
        std::vector<st4vla_camera_config> configs;
        for (std::size_t i = 0; i < names.size(); ++i) {
            configs.push_back({names[i].c_str(), nullptr, ST4VLA_SOURCE_PATTERN, welcome.views[i].height,
                               welcome.views[i].width, 0, 20.0});
        }
        st4vla::Cameras cameras(configs);
        const auto chunk = std::make_unique<st4vla_chunk>();
        for (int left = std::atoi(argv[2]); left > 0;) {
            if (const auto *views = cameras.next(std::chrono::seconds(1))) {
                bridge.send(st4vla::observe(*views, "lift the red cube"));
            }
            if (bridge.receive(std::chrono::seconds(1), *chunk)) {
                std::printf("chunk %llu of %d x %d\n", static_cast<unsigned long long>(chunk->body.chunk_id),
                            chunk->body.horizon, chunk->body.action_dim);
                --left;
            }
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}

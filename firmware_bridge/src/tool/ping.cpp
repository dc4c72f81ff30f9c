// `st4vla-bridge ping`: how long an answer takes.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "commands.h"
#include "json.h"
#include "quantiles.h"
#include "st4vla/bridge.hpp"
#include "stop.h"

namespace st4vla::tool {
namespace {

constexpr const char *kHelp = R"(usage: st4vla-bridge ping --endpoint ADDRESS [OPTIONS]

Ask a runtime with raw pictures of its own size, one question at a time, and say how long each answer took: from before
the pictures are copied into a message until the chunk is checked and handed over.

  --endpoint ADDRESS        of the runtime, as in tcp://192.168.1.2:5555, or local:PATH of `st4vla serve --local PATH`
  --count NUMBER            of questions (100)
  --warm-up NUMBER          of questions before, which do not count (20)
  --interval-ms MS          from an answer to the next question (0)
  --key FILE                this client's secret key, as `st4vla keys make` writes it
  --server-key FILE         the runtime's public key
  --times                   give each time in the JSON line
)";

constexpr std::chrono::milliseconds kPatience{5000};

struct PingOptions {
    BridgeOptions bridge;
    long count = 100, warm_up = 20;
    double interval_ms = 0.0;
    bool times = false;
};

/// When the answer to the newest question came; written in the bridge's thread.
struct Answer {
    static void on_chunk(void *answer, const st4vla_chunk *chunk)
    {
        auto &mine = *static_cast<Answer *>(answer);
        mine.came_ns.store(st4vla_monotonic_ns(), std::memory_order_relaxed);
        mine.sequence.store(chunk->body.observation_sequence, std::memory_order_release);
    }

    std::atomic<int64_t> came_ns{0};
    std::atomic<uint64_t> sequence{0};
};

std::optional<PingOptions> read_options(Arguments &arguments)
{
    PingOptions options;
    while (arguments.next()) {
        const std::string &name = arguments.name();
        if (name == "--help") {
            return std::nullopt;
        }
        if (name == "--endpoint") {
            options.bridge.endpoint = arguments.value();
        } else if (name == "--count") {
            options.count = arguments.whole(1, 1'000'000);
        } else if (name == "--warm-up") {
            options.warm_up = arguments.whole(0, 1'000'000);
        } else if (name == "--interval-ms") {
            options.interval_ms = arguments.number(0.0, 1e5);
        } else if (name == "--key") {
            options.bridge.secret_key_file = arguments.value();
        } else if (name == "--server-key") {
            options.bridge.server_key_file = arguments.value();
        } else if (name == "--times") {
            options.times = true;
        } else {
            arguments.unknown("ping");
        }
    }
    if (options.bridge.endpoint.empty()) {
        throw UsageError("ping needs --endpoint, as in --endpoint tcp://192.168.1.2:5555");
    }
    return options;
}

/// Pictures of what the bundle wants, of noise.
class Pictures {
public:
    explicit Pictures(const st4vla_welcome &welcome)
    {
        std::mt19937 noise(0);
        for (int i = 0; i < welcome.body.view_count; ++i) {
            const st4vla_wire_welcome_view &wanted = welcome.views[i];
            std::vector<uint8_t> pixels(std::size_t{3} * wanted.height * wanted.width);
            std::generate(pixels.begin(), pixels.end(), [&] { return static_cast<uint8_t>(noise()); });
            pixels_.push_back(std::move(pixels));
            st4vla_view view{};
            view.height = wanted.height;
            view.width = wanted.width;
            view.encoding = ST4VLA_IMAGE_RGB8;
            view.bytes = pixels_.back().size();
            std::copy_n(wanted.name, sizeof wanted.name, view.name);
            views.push_back(view);
        }
        for (std::size_t i = 0; i < views.size(); ++i) {
            views[i].data = pixels_[i].data();
        }
    }

    std::vector<st4vla_view> views;

private:
    std::vector<std::vector<uint8_t>> pixels_;
};

/// Ask once and return how long the answer took. Throws std::runtime_error if none comes.
int64_t ask(Bridge &bridge, Answer &answer, std::vector<st4vla_view> &views)
{
    const int64_t began_ns = st4vla_monotonic_ns();
    for (st4vla_view &view : views) {
        view.capture_ns = began_ns;
    }
    const auto sequence = bridge.send(observe(views, "pick up the red cube"));
    if (!sequence) {
        throw std::runtime_error("the question could not be sent: all message buffers are on their way");
    }
    st4vla_chunk chunk;
    do {
        if (!bridge.receive(kPatience, chunk)) {
            const auto error = bridge.last_error();
            throw std::runtime_error(error ? error->text : "no answer within 5 s");
        }
    } while (answer.sequence.load(std::memory_order_acquire) != *sequence);
    return answer.came_ns.load(std::memory_order_relaxed) - began_ns;
}

}  // namespace

int ping(Arguments arguments)
{
    auto options = read_options(arguments);
    if (!options) {
        std::fputs(kHelp, stdout);
        return 0;
    }
    heed_signals();
    Answer answer;
    options->bridge.on_chunk = Answer::on_chunk;
    options->bridge.context = &answer;
    Bridge bridge(options->bridge);
    Pictures pictures(bridge.hello(kPatience));
    std::vector<int64_t> times_ns;
    for (long i = -options->warm_up; i < options->count && !told_to_stop(); ++i) {
        const int64_t took_ns = ask(bridge, answer, pictures.views);
        if (i >= 0) {
            times_ns.push_back(took_ns);
        }
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(options->interval_ms));
    }
    std::string times;
    for (const int64_t time_ns : times_ns) {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%s%.4f", times.empty() ? "" : ",", static_cast<double>(time_ns) / 1e6);
        times += digits;
    }
    std::sort(times_ns.begin(), times_ns.end());
    const auto ms = [&](double share) { return static_cast<double>(quantile(times_ns, share)) / 1e6; };
    std::printf("%zu answers, ms: p50 %.3f p99 %.3f max %.3f\n", times_ns.size(), ms(0.5), ms(0.99), ms(1.0));
    JsonObject line;
    line.flag("ok", !times_ns.empty()).whole("answers", times_ns.size());
    line.number("p50_ms", ms(0.5)).number("p99_ms", ms(0.99)).number("max_ms", ms(1.0));
    if (options->times) {
        line.raw("times_ms", "[" + times + "]");
    }
    std::printf("%s\n", line.str().c_str());
    return times_ns.empty() ? 1 : 0;
}

}  // namespace st4vla::tool

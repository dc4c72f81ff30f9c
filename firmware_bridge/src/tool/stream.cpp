// `st4vla-bridge stream`.
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <utility>

#include "commands.h"
#include "json.h"
#include "quantiles.h"
#include "stop.h"
#include "stream_options.h"

namespace st4vla::tool {
namespace {

constexpr std::chrono::milliseconds kPatience{100};
constexpr int64_t kNsPerS = 1'000'000'000;

/// Ages of frames when the chunks that they led to arrived; filled in the bridge's thread.
class Ages {
public:
    static void on_chunk(void *ages, const st4vla_chunk *chunk)
    {
        static_cast<Ages *>(ages)->add(chunk->received_ns - chunk->body.frame_capture_ns);
    }

    void add(int64_t age_ns)
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ages_ns_.push_back(age_ns);
    }

    /// Those since the last call, sorted.
    std::vector<int64_t> take()
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        std::sort(ages_ns_.begin(), ages_ns_.end());
        return std::exchange(ages_ns_, {});
    }

private:
    std::mutex mutex_;
    std::vector<int64_t> ages_ns_;
};

double ms(int64_t ns) { return static_cast<double>(ns) / 1e6; }

/// UTF-8 of another machine, without what a terminal would obey.
std::string printable(const char *text)
{
    std::string out;
    for (; *text != '\0'; ++text) {
        const auto c = static_cast<unsigned char>(*text), next = static_cast<unsigned char>(text[1]);
        // The second set of control characters is of two bytes.
        const bool is_second = c == 0xc2 && next >= 0x80 && next < 0xa0;
        out += c < 0x20 || c == 0x7f || is_second ? '?' : *text;
        text += is_second ? 1 : 0;
    }
    return out;
}

/// The bundle's views for cameras without a name, in their order, and its sizes.
std::vector<st4vla_camera_config> configs(StreamOptions &options, const st4vla_welcome &welcome)
{
    std::vector<st4vla_camera_config> made;
    for (std::size_t i = 0; i < options.cameras.size(); ++i) {
        CameraOptions &camera = options.cameras[i];
        const st4vla_wire_welcome_view &wanted =
            welcome.views[std::min<std::size_t>(i, std::size_t{welcome.body.view_count} - 1)];
        if (camera.name.empty()) {
            if (i >= welcome.body.view_count) {
                throw std::runtime_error("the bundle has " + std::to_string(welcome.body.view_count) +
                                         " views; give the other cameras none, or names");
            }
            camera.name.assign(wanted.name, strnlen(wanted.name, sizeof wanted.name));
        }
        made.push_back({camera.name.c_str(), camera.path.c_str(), static_cast<uint32_t>(camera.source),
                        options.height != 0 ? options.height : wanted.height,
                        options.width != 0 ? options.width : wanted.width, 0, options.rate_hz});
    }
    return made;
}

/// Says each second what came, and at the end what came of it all.
class Report {
public:
    Report(const Bridge &bridge, Ages &ages) : bridge_(bridge), ages_(ages) {}

    void tick()
    {
        const int64_t now_ns = st4vla_monotonic_ns();
        if (now_ns - told_ns_ < kNsPerS) {
            return;
        }
        const double seconds = static_cast<double>(now_ns - told_ns_) / 1e9;
        const uint64_t frames = bridge_.count(ST4VLA_FRAMES_SENT), chunks = bridge_.count(ST4VLA_CHUNKS_RECEIVED);
        const std::vector<int64_t> ages = collect();
        std::printf("%6.1f s  frames %5.1f/s  chunks %5.1f/s  frame to chunk ms p50 %.2f max %.2f",
                    static_cast<double>(now_ns - began_ns_) / 1e9, static_cast<double>(frames - frames_) / seconds,
                    static_cast<double>(chunks - chunks_) / seconds, ms(quantile(ages, 0.5)), ms(quantile(ages, 1.0)));
        if (const auto clock = bridge_.clock()) {
            std::printf("  clock %+.3f ms within %.3f", ms(clock->offset_ns), ms(clock->error_bound_ns));
        }
        std::printf("\n");
        std::fflush(stdout);
        tell_error();
        told_ns_ = now_ns;
        frames_ = frames;
        chunks_ = chunks;
    }

    void finish(const Cameras &cameras, std::size_t count)
    {
        collect();
        std::sort(all_ns_.begin(), all_ns_.end());
        JsonObject counters, line;
        for (uint32_t i = 0; i < ST4VLA_COUNTER_COUNT; ++i) {
            counters.whole(st4vla_counter_name(i), bridge_.count(static_cast<st4vla_counter>(i)));
        }
        uint64_t frames = 0, damaged = 0, failures = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const st4vla_camera_counts counts = cameras.counts(i);
            frames += counts.frames;
            damaged += counts.damaged;
            failures += counts.failures;
        }
        line.flag("ok", is_ok()).number("seconds", static_cast<double>(st4vla_monotonic_ns() - began_ns_) / 1e9);
        line.raw("frame_to_chunk_ms", JsonObject()
                                          .number("p50", ms(quantile(all_ns_, 0.5)))
                                          .number("p99", ms(quantile(all_ns_, 0.99)))
                                          .number("max", ms(quantile(all_ns_, 1.0)))
                                          .str());
        if (const auto clock = bridge_.clock()) {
            line.number("clock_offset_ms", ms(clock->offset_ns)).number("clock_error_ms", ms(clock->error_bound_ns));
        }
        line.whole("pictures", frames).whole("pictures_damaged", damaged).whole("camera_failures", failures);
        std::printf("%s\n", line.raw("counters", counters.str()).str().c_str());
    }

    bool is_ok() const { return bridge_.count(ST4VLA_CHUNKS_RECEIVED) != 0; }

private:
    std::vector<int64_t> collect()
    {
        std::vector<int64_t> ages = ages_.take();
        all_ns_.insert(all_ns_.end(), ages.begin(), ages.end());
        return ages;
    }

    void tell_error()
    {
        const auto error = bridge_.last_error();
        if (error && error->count != errors_) {
            std::fprintf(stderr, "st4vla-bridge: the runtime says (error %u, %llu so far): %s\n", error->code,
                         static_cast<unsigned long long>(error->count), printable(error->text).c_str());
            errors_ = error->count;
        }
    }

    const Bridge &bridge_;
    Ages &ages_;
    const int64_t began_ns_ = st4vla_monotonic_ns();
    int64_t told_ns_ = began_ns_;
    uint64_t frames_ = 0, chunks_ = 0, errors_ = 0;
    std::vector<int64_t> all_ns_;
};

}  // namespace

int stream(Arguments arguments)
{
    auto options = read_stream_options(arguments);
    if (!options) {
        std::fputs(kStreamHelp, stdout);
        return 0;
    }
    heed_signals();
    Ages ages;
    options->bridge.on_chunk = Ages::on_chunk;
    options->bridge.context = &ages;
    Bridge bridge(options->bridge);
    const st4vla_welcome welcome = bridge.hello(std::chrono::milliseconds(options->wait_ms));
    const char *name = welcome.body.bundle_name;
    const std::string bundle(name, strnlen(name, sizeof welcome.body.bundle_name));
    std::printf("%s at %s: %d actions of %d numbers, %.1f ms apart\n", printable(bundle.c_str()).c_str(),
                options->bridge.endpoint.c_str(), welcome.body.horizon, welcome.body.action_dim,
                ms(welcome.body.period_ns));
    Cameras cameras(configs(*options, welcome));
    Report report(bridge, ages);
    const int64_t end_ns = st4vla_monotonic_ns() + static_cast<int64_t>(options->seconds * 1e9);
    while (!told_to_stop() && (options->seconds == 0.0 || st4vla_monotonic_ns() < end_ns)) {
        if (const auto *views = cameras.next(kPatience)) {
            st4vla_observation observation = observe(*views, options->instruction);
            observation.seed = options->seed;
            observation.deadline_ns = options->deadline_ns;
            bridge.send(observation);
        }
        report.tick();
    }
    report.finish(cameras, options->cameras.size());
    return report.is_ok() ? 0 : 1;
}

}  // namespace st4vla::tool

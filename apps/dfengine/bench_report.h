// What dfengine bench prints, and what it writes as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/bench/files_bench.h"
#include "engine/bench/layer_bench.h"
#include "engine/bench/network_bench.h"
#include "engine/data/feed_bench.h"

namespace dfengine {

// All texts end with a line break. copy_rate is in GB/s, as engine/bench/timing.h measures it.
std::string feed_text(const FeedRates& rates, const LoaderOptions& how);
std::string files_text(const FilesTiming& timing);
std::string network_header(bool device);
std::string network_line(const NetworkTiming& timing, double copy_rate);
std::string layers_text(const LayerTable& table, double copy_rate);

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FeedRates, pictures, threads, megapixels, decode, resize,
                                   decode_resize, augment, read, all_threads, feed, feed_cached)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FilesTiming, pictures, batch, images_per_second, waited)
nlohmann::json to_json(const NetworkTiming& timing, double copy_rate);
nlohmann::json to_json(const LayerTable& table, double copy_rate);

}  // namespace dfengine

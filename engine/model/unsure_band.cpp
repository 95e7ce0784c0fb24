#include "engine/model/unsure_band.h"

#include <charconv>

namespace dfengine {

std::optional<UnsureBand> unsure_band(const ModelMetadata& model) {
  const auto note = model.notes.find(kUnsureBand);
  if (note == model.notes.end()) return std::nullopt;
  const char *first = note->second.data(), *last = first + note->second.size();
  UnsureBand band;
  const auto [comma, bad_from] = std::from_chars(first, last, band.from);
  if (bad_from != std::errc() || comma == last || *comma != ',') return std::nullopt;
  const auto [end, bad_to] = std::from_chars(comma + 1, last, band.to);
  if (bad_to != std::errc() || end != last || !(band.from >= 0 && band.to <= 1))
    return std::nullopt;
  return band;
}

}  // namespace dfengine

// The two containers of torch.save: where the pickle and the storages lie.
#include "weights/torch/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include "kernels/base/error.h"
#include "weights/torch/pickle.h"
#include "weights/torch/torch_state_dict.h"

namespace dfengine::weights {
namespace {

constexpr std::string_view kPickleEntry = "/data.pkl";

// torch/serialization.py's magic number 0x1950a86a20f9469cfc6c, as a pickle holds it.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::int64_t kProtocolVersion = 1001;

[[noreturn]] void refuse(const std::string& file, const std::string& cause) {
  throw ModelFileError(fmt::format("{}: PyTorch file: {}", file, cause));
}

using Storages = std::map<std::string_view, std::span<const std::byte>>;

// Type and count of every storage the object speaks of, by key.
std::map<std::string_view, TorchStorage> described_storages(const Pickle& object,
                                                            const std::string& file) {
  std::map<std::string_view, TorchStorage> described;
  for (PickleRef ref = 0; ref < object.values.size(); ++ref) {
    if (object[ref].kind != PickleKind::Persistent) continue;
    const auto storage = torch_storage(object, ref, file);
    if (!storage) continue;
    const TorchStorage& first = described.emplace(storage->key, *storage).first->second;
    if (first.dtype != storage->dtype || first.size() != storage->size()) {
      refuse(file, fmt::format("storage \"{}\" has two types or sizes", printable(storage->key)));
    }
  }
  return described;
}

// The storages behind the pickles, in the order of the keys.
Storages legacy_storages(std::span<const std::byte> file, const Pickle& object, const Pickle& keys,
                         const std::string& name) {
  const auto described = described_storages(object, name);
  Storages storages;
  std::size_t at = keys.end;
  for (const PickleRef ref : keys[keys.root].items) {
    const std::string_view key = keys[ref].text;
    const auto found = described.find(key);
    if (found == described.end() || !storages.emplace(key, std::span<const std::byte>{}).second) {
      refuse(name, fmt::format("its list of storages has \"{}\" too often", printable(key)));
    }
    const TorchStorage& storage = found->second;
    std::int64_t count = 0;
    if (file.size() - at < sizeof(count) || file.size() - at - sizeof(count) < storage.size()) {
      refuse(name, fmt::format("storage \"{}\" of {} bytes ends behind the end of the file, from "
                               "byte {} of {}; the file is cut or damaged",
                               printable(key), storage.size(), at, file.size()));
    }
    std::memcpy(&count, file.data() + at, sizeof(count));
    if (count != storage.count) {
      refuse(name, fmt::format("storage \"{}\" has {} elements at byte {}, {} in the pickle",
                               printable(key), count, at, storage.count));
    }
    storages[key] = file.subspan(at + sizeof(count), storage.size());
    at += sizeof(count) + storage.size();
  }
  if (at != file.size()) {
    refuse(name, fmt::format("{} bytes after the last storage, at byte {}", file.size() - at, at));
  }
  return storages;
}

void check_system(const Pickle& system, const std::string& file) {
  const auto& items = system[system.root].items;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (system[items[i]].text == "little_endian" && system[items[i + 1]].number == 0) {
      refuse(file, "was written on a big-endian machine");
    }
  }
}

}  // namespace

TensorFile parse_torch_legacy(std::span<const std::byte> file, const std::string& name_for_errors) {
  const auto next = [&](std::size_t begin) { return parse_pickle(file, begin, name_for_errors); };
  const Pickle magic = next(0);
  if (magic[magic.root].text != kMagic) {
    refuse(name_for_errors, "is a pickle, but not one of torch.save: its magic number is missing");
  }
  const Pickle protocol = next(magic.end);
  if (protocol[protocol.root].number != kProtocolVersion) {
    refuse(name_for_errors, fmt::format("has format version {}, not {}",
                                        protocol[protocol.root].number, kProtocolVersion));
  }
  const Pickle system = next(protocol.end);
  check_system(system, name_for_errors);
  const Pickle object = next(system.end);
  const Pickle keys = next(object.end);
  const Storages storages = legacy_storages(file, object, keys, name_for_errors);
  const StorageLookup lookup = [&](const TorchStorage& storage) {
    const auto found = storages.find(storage.key);
    if (found == storages.end()) {
      refuse(name_for_errors,
             fmt::format("storage \"{}\" is not in the list", printable(storage.key)));
    }
    return found->second;
  };
  return read_state_dict(object, lookup, name_for_errors);
}

bool is_torch_zip(const ZipArchive& archive) {
  return std::ranges::any_of(archive.names(),
                             [](const std::string& name) { return name.ends_with(kPickleEntry); });
}

TensorFile parse_torch_zip(ZipArchive& archive) {
  const std::string& file = archive.file_name();
  const auto entry = std::ranges::find_if(
      archive.names(), [](const std::string& name) { return name.ends_with(kPickleEntry); });
  if (entry == archive.names().end()) refuse(file, "has no entry data.pkl");
  const std::string folder = entry->substr(0, entry->size() - kPickleEntry.size() + 1);
  const std::string order = folder + "byteorder";
  if (archive.holds(order) && archive.read_text(order) != "little")
    refuse(file, "is not in little-endian byte order");
  const std::vector<std::byte> bytes = archive.read(*entry);
  const Pickle object = parse_pickle(bytes, 0, fmt::format("{}: {}", file, printable(*entry)));
  described_storages(object, file);
  std::map<std::string_view, std::vector<std::byte>> storages;
  const StorageLookup lookup = [&](const TorchStorage& storage) {
    auto [found, is_new] = storages.try_emplace(storage.key);
    if (is_new) found->second = archive.read(fmt::format("{}data/{}", folder, storage.key));
    if (found->second.size() != storage.size()) {
      refuse(file, fmt::format("storage \"{}\" has {} bytes, the pickle says {}",
                               printable(storage.key), found->second.size(), storage.size()));
    }
    return std::span<const std::byte>(found->second);
  };
  return read_state_dict(object, lookup, file);
}

}  // namespace dfengine::weights

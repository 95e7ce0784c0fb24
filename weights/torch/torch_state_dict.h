// The state dict inside a pickle of torch.save -> named dense tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "weights/tensor_file.h"
#include "weights/torch/pickle.h"

namespace dfengine::weights {

// The names a state dict may refer to; every other name is refused by the pickle reader.
std::span<const std::string_view> torch_globals();

// A run of elements that tensors are views of.
struct TorchStorage {
  std::string_view key;
  DType dtype = DType::F32;
  std::int64_t count = 0;

  std::size_t size() const { return static_cast<std::size_t>(count) * dtype_size(dtype); }
};

// The storage that a persistent id of the pickle describes. Throws ModelFileError with file, offset
// and cause.
TorchStorage torch_storage(const Pickle& pickle, PickleRef persistent, const std::string& file);

// Exactly storage.size() bytes, valid until the next state dict is read.
using StorageLookup = std::function<std::span<const std::byte>(const TorchStorage& storage)>;

// The tensors of the root dict in its order, made dense whatever their strides were; other entries
// are left out. If the root holds no tensor, its entry state_dict, model, state_dict_ema or
// model_ema is taken, the first that is there, and metadata "source_entry" names it. The prefix
// "module." is dropped when all names have it. Throws ModelFileError with file, tensor and cause.
TensorFile read_state_dict(const Pickle& pickle, const StorageLookup& lookup,
                           const std::string& file);

}  // namespace dfengine::weights

// The tensors inside a pickle of torch.save -> named dense tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weights/tensor_file.h"
#include "weights/torch/pickle.h"

namespace dfengine::weights {

// A run of elements that tensors are views of.
struct TorchStorage {
  std::string_view key;
  std::optional<DType> dtype;  // none: of a kind that no weights have, such as complex numbers
  std::size_t element_size = 0;
  std::int64_t count = 0;

  std::size_t size() const { return static_cast<std::size_t>(count) * element_size; }
};

// The storage that a persistent id of the pickle describes; nothing for the id of anything else.
// Throws ModelFileError with file, offset and cause.
std::optional<TorchStorage> torch_storage(const Pickle& pickle, PickleRef persistent,
                                          const std::string& file);

// Exactly storage.size() bytes, valid until the next state dict is read.
using StorageLookup = std::function<std::span<const std::byte>(const TorchStorage& storage)>;

// Every tensor that is found from the root by names: in dicts, in lists, in the attributes of
// objects, which are never made. Its name is the path, joined by dots: "state_dict.features.0.0
// .weight"; a module's own bookkeeping (_modules, _parameters, _buffers) is no part of it, so that
// a pickled module has the names of its state dict. A dict that is met again is skipped, as are
// entries under numbers (the state of optimisers) and tensors of kinds that weights never have.
// Tensors are made dense whatever their strides were. Throws ModelFileError with file, tensor and
// cause.
TensorFile read_state_dict(const Pickle& pickle, const StorageLookup& lookup,
                           const std::string& file);

}  // namespace dfengine::weights

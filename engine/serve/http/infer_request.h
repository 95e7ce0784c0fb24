// A request for inference as the Open Inference Protocol (KServe v2) has it: a BYTES tensor of
// pictures, in JSON as base64, or behind the JSON as Triton's binary extension has it.
#pragma once

#include "engine/serve/http/bodies.h"

namespace dfengine::serve {

// The tensors that are answered.
inline constexpr const char *kProbFake = "prob_fake", *kVerdict = "verdict", *kIsUnsure = "unsure";

struct InferRequest {
  std::string id;                    // that the client gave it, or ""
  std::vector<std::string> outputs;  // that the client asks for, or all of them
  std::vector<Picture> pictures;
};

// json_bytes: how much of the body is JSON, where there is a binary part behind it. Throws Refusal.
InferRequest parse_infer_request(std::string body, std::optional<std::size_t> json_bytes,
                                 const BodyLimits& limits);

}  // namespace dfengine::serve

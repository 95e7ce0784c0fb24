// Ranks that talk over TCP, as torchrun starts them: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
// Whoever can reach the ports can join: for networks that are trusted.
#pragma once

#include <memory>
#include <string>

#include "engine/runtime/ranks/communicator.h"

namespace dfengine {

struct Rendezvous {
  int rank = 0, size = 1;
  std::string address;  // of rank 0
  int port = 0;         // where it listens
};

// Waits for all ranks, at most a minute. Throws Error naming what is missing. The result throws
// Error where a rank that it talks with has ended.
std::unique_ptr<Communicator> join_over_tcp(const Rendezvous& at);

}  // namespace dfengine

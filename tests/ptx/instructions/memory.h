// What memory there is, and the checks of every access to it.
#pragma once

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

// Device memory, as the runtime's entry points allot it.
void* allot_device(std::size_t bytes);
// False where it was not allotted.
bool free_device(void* memory);
bool in_device(std::uint64_t address, std::uint64_t bytes);

// Reports an access to shared memory that is out of bounds, misaligned, or a race: within one
// barrier interval another warp wrote there, or read what this one writes. False when it is out of
// bounds.
bool check_shared(Warp& warp, std::uint64_t offset, int bytes, bool writes);

// The runtime copies there, which is done before any kernel behind it begins.
void note_copy(const void* to, std::size_t bytes);

// Reports an access to device memory that is out of bounds; also one of a warp that has not yet
// waited for the kernels before its own: a write, or a read of what a kernel wrote. False when it
// is out of bounds.
bool check_device(Warp& warp, std::uint64_t address, int bytes, bool writes);

// Between its beginning and the wait for it nobody may touch a copy's place.
void mark_copy(Warp& warp, const Copy& copy, bool under_way);

// Where an instruction's access of so many bytes leads, or null after a report.
std::byte* resolve(Warp& warp, const Instruction& instruction, std::uint64_t address, int bytes,
                   bool writes);

// PTX ISA, "ld", "st", "mov" of vectors and addresses, "cvta", "mapa".
void load(Warp& warp, const Instruction& instruction, Lanes mask);
void store(Warp& warp, const Instruction& instruction, Lanes mask);
void address_of_local(Warp& warp, const Instruction& instruction, Lanes mask);
void shared_to_generic(Warp& warp, const Instruction& instruction, Lanes mask);
void generic_to_shared(Warp& warp, const Instruction& instruction, Lanes mask);
void map_to_block(Warp& warp, const Instruction& instruction, Lanes mask);
void split_register(Warp& warp, const Instruction& instruction, Lanes mask);
void join_registers(Warp& warp, const Instruction& instruction, Lanes mask);

}  // namespace dfengine::ptx

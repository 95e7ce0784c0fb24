#include "engine/runtime/program_id.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

namespace dfengine {
namespace {

constexpr std::uintptr_t kNoteAlignment = 4;

std::uintptr_t padded(std::uintptr_t bytes) {
  return (bytes + kNoteAlignment - 1) / kNoteAlignment * kNoteAlignment;
}

std::string hexadecimal(const unsigned char* bytes, std::size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] / 16];
    text += kDigits[bytes[i] % 16];
  }
  return text;
}

// The build id among the notes of a segment, or "".
std::string id_in(std::uintptr_t begin, std::uintptr_t end) {
  while (begin + sizeof(ElfW(Nhdr)) <= end) {
    ElfW(Nhdr) note;
    std::memcpy(&note, reinterpret_cast<const void*>(begin), sizeof note);
    const std::uintptr_t name = begin + sizeof note, content = name + padded(note.n_namesz);
    const auto* const id = reinterpret_cast<const unsigned char*>(content);
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" &&
        std::memcmp(reinterpret_cast<const void*>(name), "GNU", sizeof "GNU") == 0)
      return hexadecimal(id, note.n_descsz);
    begin = content + padded(note.n_descsz);
  }
  return "";
}

// Of the program or library that holds this function.
int look_at(dl_phdr_info* object, std::size_t, void* found) {
  const auto here = reinterpret_cast<std::uintptr_t>(&look_at);
  bool holds = false;
  std::string id;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    const std::uintptr_t end = begin + segment.p_memsz;
    if (segment.p_type == PT_LOAD && begin <= here && here < end) holds = true;
    if (segment.p_type == PT_NOTE && id.empty()) id = id_in(begin, end);
  }
  if (holds) *static_cast<std::string*>(found) = id;
  return holds ? 1 : 0;
}

}  // namespace

std::string program_id() {
  std::string id;
  dl_iterate_phdr(look_at, &id);
  return id;
}

}  // namespace dfengine

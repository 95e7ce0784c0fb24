#include "tests/ptx/program/parser.h"

#include <algorithm>

#include "tests/ptx/program/decoder.h"
#include "tests/ptx/program/text.h"
#include "tests/ptx/report.h"

namespace dfengine::ptx {
namespace {

struct Line {
  std::string_view text;
  int file = 0, line = 0;
};

// A kernel's text in parts: what stands before the body, and the statements in it.
struct Pieces {
  std::string_view header;
  std::vector<std::string_view> declarations;
  std::vector<Line> instructions;
  Labels labels;
};

// ".align 4 .b8 NAME[64]": the words after the space's name.
struct Array {
  std::string_view name;
  int alignment = 1, bytes = 0;
  bool sized = false;
};

Array array_of(std::string_view text) {
  Array array;
  std::string_view word = take_word(text);
  if (word == ".align") {
    array.alignment = static_cast<int>(integer(take_word(text)));
    word = take_word(text);
  }
  const int bytes = bytes_of_type(word.substr(1));
  if (bytes == 0) throw SyntaxError("unknown type " + std::string(word));
  array.alignment = std::max(array.alignment, bytes);
  array.name = take_word(text);
  array.bytes = bytes;
  array.sized = true;
  if (!text.empty() && text.front() == '[') {
    const std::string_view count = trimmed(text.substr(1, text.find(']') - 1));
    array.sized = !count.empty();
    array.bytes = array.sized ? bytes * static_cast<int>(integer(count)) : 0;
  }
  return array;
}

// Cuts a kernel's body into statements, and remembers which source line each comes from.
class Cutter {
 public:
  explicit Cutter(std::string_view body) : rest_(body) {}

  void cut(Pieces& pieces) {
    while (skip_space(), !rest_.empty()) {
      if (rest_.front() == '{' || rest_.front() == '}') {
        rest_.remove_prefix(1);
      } else if (starts_with_word(".loc")) {
        take_location(take_until('\n'));
      } else if (rest_.starts_with("//") || starts_with_word(".file")) {
        take_until('\n');
      } else if (const auto label = take_label(); !label.empty()) {
        pieces.labels[label] = static_cast<int>(pieces.instructions.size());
      } else {
        const std::string_view statement = trimmed(take_until(';'));
        if (statement.starts_with(".")) {
          pieces.declarations.push_back(statement);
        } else if (!statement.empty()) {
          pieces.instructions.push_back({statement, file_, line_});
        }
      }
    }
  }

 private:
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }

  bool starts_with_word(std::string_view word) const {
    return rest_.starts_with(word) && rest_.size() > word.size() && is_space(rest_[word.size()]);
  }

  std::string_view take_until(char end) {
    const std::size_t at = std::min(rest_.find(end), rest_.size());
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(std::min(at + 1, rest_.size()));
    return taken;
  }

  // ".loc FILE LINE COLUMN"; where something was inlined, it names the inlined line.
  void take_location(std::string_view text) {
    take_word(text);
    file_ = static_cast<int>(integer(take_word(text)));
    line_ = static_cast<int>(integer(take_word(text)));
  }

  std::string_view take_label() {
    std::size_t end = 0;
    while (end < rest_.size() && is_word(rest_[end]) && rest_[end] != '.') ++end;
    if (end == 0 || end >= rest_.size() || rest_[end] != ':') return {};
    const std::string_view label = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return label;
  }

  std::string_view rest_;
  int file_ = 0, line_ = 0;
};

Pieces pieces_of(std::string_view text, std::size_t entry) {
  const std::size_t open = text.find('{', entry);
  std::size_t end = open;
  int depth = 0;
  do {
    if (end >= text.size()) throw SyntaxError("a kernel without an end");
    depth += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
    ++end;
  } while (depth > 0);
  Pieces pieces;
  pieces.header = text.substr(entry, open - entry);
  Cutter(text.substr(open + 1, end - open - 2)).cut(pieces);
  return pieces;
}

// ".entry NAME(.param .u64 NAME_0, ...) .maxntid 256, 1, 1"
void declare_header(std::string_view header, Names& names, Code& code) {
  const std::size_t open = header.find('('), close = header.find(')');
  if (open != header.npos) {
    for (std::string_view parameter : split(header.substr(open + 1, close - open - 1), ',')) {
      if (parameter.empty()) continue;
      if (take_word(parameter) != ".param")
        throw SyntaxError("no parameter: " + std::string(parameter));
      const Array array = array_of(parameter);
      names.declare_parameter(array.name, array.alignment, array.bytes);
    }
  }
  constexpr std::string_view kMost = ".maxntid";
  const std::size_t most = header.find(kMost);
  if (most == header.npos) return;
  code.most_threads = 1;
  const std::string_view extents = header.substr(most + kMost.size());
  for (std::string_view extent : split(extents.substr(0, extents.find('\n')), ','))
    code.most_threads *= static_cast<int>(integer(take_word(extent)));
}

// Static shared arrays of a whole module that this kernel names, then those of its own, then the
// dynamic.
void declare_shared(std::string_view text, std::size_t entry, const Pieces& pieces, Names& names) {
  const std::size_t end = text.find('{', entry);
  const auto is_named = [&](std::string_view name) {
    return std::any_of(pieces.instructions.begin(), pieces.instructions.end(),
                       [&](const Line& line) { return line.text.find(name) != line.text.npos; });
  };
  std::vector<std::string_view> dynamic;
  constexpr std::string_view kShared = ".shared ";
  for (std::size_t at = text.find(kShared); at < end; at = text.find(kShared, at + 1)) {
    // Within an earlier kernel: indented there or not, a '{' is still open.
    const std::string_view before = text.substr(0, at);
    if (std::count(before.begin(), before.end(), '{') !=
        std::count(before.begin(), before.end(), '}'))
      continue;
    const Array array =
        array_of(text.substr(at + kShared.size(), text.find(';', at) - at - kShared.size()));
    if (!array.sized) {
      dynamic.push_back(array.name);
    } else if (is_named(array.name)) {
      names.declare_shared(array.name, array.alignment, array.bytes);
    }
  }
  for (std::string_view declaration : pieces.declarations) {
    if (take_word(declaration) != ".shared") continue;
    const Array array = array_of(declaration);
    names.declare_shared(array.name, array.alignment, array.bytes);
  }
  for (const std::string_view name : dynamic) names.declare_dynamic_shared(name);
}

void declare(std::string_view declaration, Names& names) {
  const std::string_view what = take_word(declaration);
  if (what == ".reg") {
    const std::string_view type = take_word(declaration);
    names.declare_registers(type.substr(1), declaration);
  } else if (what == ".local") {
    const Array array = array_of(declaration);
    names.declare_local(array.name, array.alignment, array.bytes);
  } else if (what == ".param") {
    names.declare_argument(array_of(declaration).name);
  } else if (what != ".shared" && what != ".pragma") {
    throw SyntaxError("unknown declaration " + std::string(what));
  }
}

// Where lanes that parted may meet: at jumps' targets, and behind jumps.
void mark_targets(Code& code) {
  auto& all = code.instructions;
  for (std::size_t n = 0; n < all.size(); ++n) {
    if (all[n].jump >= 0) all[static_cast<std::size_t>(all[n].jump)].target_of_jump = true;
    if (all[n].flow != Flow::Next && n + 1 < all.size()) all[n + 1].target_of_jump = true;
  }
}

std::unique_ptr<Code> parse(std::string_view text, std::size_t entry, std::string_view& at) {
  auto code = std::make_unique<Code>();
  Names names(*code);
  const Pieces pieces = pieces_of(text, entry);
  at = pieces.header;
  declare_header(pieces.header, names, *code);
  declare_shared(text, entry, pieces, names);
  for (const std::string_view declaration : pieces.declarations) {
    at = declaration;
    declare(declaration, names);
  }
  for (const Line& line : pieces.instructions) {
    at = line.text;
    code->instructions.push_back(decode(line.text, names, pieces.labels));
    code->instructions.back().file = line.file;
    code->instructions.back().line = line.line;
  }
  // A body may end without ret, and a label may stand at its end.
  code->instructions.emplace_back();
  code->instructions.back().flow = Flow::Exit;
  code->instructions.back().text = "end";
  mark_targets(*code);
  return code;
}

}  // namespace

std::vector<Kernel> kernels_of(const std::shared_ptr<Module>& module) {
  const std::string_view text = module->text;
  std::vector<Kernel> kernels;
  constexpr std::string_view kEntry = ".entry ", kFile = "\n.file";
  for (std::size_t at = text.find(kEntry); at != text.npos; at = text.find(kEntry, at + 1)) {
    std::string_view rest = text.substr(at + kEntry.size());
    Kernel& kernel = kernels.emplace_back();
    kernel.name = take_word(rest);
    kernel.module = module;
    kernel.entry = at;
  }
  for (std::size_t at = text.find(kFile); at != text.npos; at = text.find(kFile, at + 1)) {
    std::string_view rest = text.substr(at + kFile.size());
    const auto number = static_cast<int>(integer(take_word(rest)));
    if (rest.front() == '"') module->files[number] = rest.substr(1, rest.find('"', 1) - 1);
  }
  return kernels;
}

std::unique_ptr<const Code> parse(const Kernel& kernel) {
  std::string_view at;
  try {
    return parse(std::string_view(kernel.module->text), kernel.entry, at);
  } catch (const std::exception& error) {
    stop(kernel.module->name + ".ptx: " + error.what() + ": `" + std::string(at) + "` in " +
         readable(kernel.name));
  }
}

}  // namespace dfengine::ptx

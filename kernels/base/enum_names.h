// The names that an enum's values have on the command line and in files. Each enum with names has
// one table of them, `enum_names<Enum>`, beside its definition:
//
//   enum class Crop { None, Center };
//   template <>
//   inline constexpr auto enum_names<Crop> =
//       names_for<Crop>("crop", {{"none", Crop::None}, {"center", Crop::Center}});
//
//   parse_name<Crop>("center"); name_of(Crop::Center); names_of<Crop>();
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/base/error.h"

namespace dfengine {

template <class Enum>
struct EnumName {
  const char* name = "";
  Enum value = {};
};

template <class Enum, std::size_t N>
struct EnumNames {
  const char* what;  // what errors call the enum
  std::array<EnumName<Enum>, N> rows;

  constexpr std::optional<Enum> find(std::string_view name) const {
    for (const EnumName<Enum>& row : rows)
      if (name == row.name) return row.value;
    return std::nullopt;
  }
  // Throws a Failure that lists what is known.
  template <class Failure = UsageError>
  Enum parse(std::string_view name) const {
    if (const auto value = find(name)) return *value;
    throw Failure(std::string(what) + " '" + std::string(name) + "' is unknown; known: " + known());
  }
  // "" for a value that the table lacks.
  constexpr const char* name_of(Enum value) const {
    for (const EnumName<Enum>& row : rows)
      if (row.value == value) return row.name;
    return "";
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const EnumName<Enum>& row : rows) all.emplace_back(row.name);
    return all;
  }
  // The names with spaces between them.
  std::string known() const {
    std::string all;
    for (const EnumName<Enum>& row : rows) all += (all.empty() ? "" : " ") + std::string(row.name);
    return all;
  }
};

template <class Enum, std::size_t N>
consteval EnumNames<Enum, N> names_for(const char* what, const EnumName<Enum> (&rows)[N]) {
  EnumNames<Enum, N> names{what, {}};
  for (std::size_t i = 0; i < N; ++i) names.rows[i] = rows[i];
  return names;
}

struct NoNames {};
template <class Enum>
inline constexpr NoNames enum_names = {};

template <class Enum>
concept NamedEnum = !std::is_same_v<decltype(enum_names<Enum>), const NoNames>;

template <NamedEnum Enum, class Failure = UsageError>
Enum parse_name(std::string_view name) {
  return enum_names<Enum>.template parse<Failure>(name);
}

template <NamedEnum Enum>
constexpr const char* name_of(Enum value) {
  return enum_names<Enum>.name_of(value);
}

template <NamedEnum Enum>
std::vector<std::string> names_of() {
  return enum_names<Enum>.names();
}

}  // namespace dfengine

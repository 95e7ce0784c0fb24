// dfengine.h for C++17: handles that close themselves, and exceptions.
#ifndef DFENGINE_HPP
#define DFENGINE_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dfengine.h"

namespace df {

// A call that did not give DF_OK.
class Error : public std::runtime_error {
 public:
  Error(df_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  df_status status() const { return status_; }

 private:
  df_status status_;
};

// Throws Error with this thread's last message unless the status is DF_OK.
inline void check(df_status status) {
  if (status != DF_OK) throw Error(status, df_last_error());
}

// A struct of the interface with its size set and all else 0.
template <class Struct>
Struct sized() {
  Struct empty{};
  empty.struct_size = sizeof(Struct);
  return empty;
}

namespace detail {
template <auto close>
struct Close {
  template <class Handle>
  void operator()(Handle* handle) const {
    close(&handle);
  }
};
}  // namespace detail

// What each picture is: see df_picture. What the arguments point to must live as long as the
// picture.
inline df_picture file(const char* path) {
  df_picture picture = sized<df_picture>();
  picture.path = path;
  return picture;
}
inline df_picture encoded(const void* bytes, std::size_t size) {
  df_picture picture = sized<df_picture>();
  picture.bytes = bytes;
  picture.size = size;
  return picture;
}
inline df_picture pixels(const std::uint8_t* rgb, std::int64_t height, std::int64_t width,
                         std::int64_t row_bytes = 0) {
  df_picture picture = sized<df_picture>();
  picture.rgb = rgb;
  picture.height = height;
  picture.width = width;
  picture.row_bytes = row_bytes;
  return picture;
}

// A detector; any number of threads may use it at once.
class Model {
 public:
  explicit Model(const std::string& path) {
    // A C string ends there, and would name another file.
    if (path.find('\0') != std::string::npos)
      throw Error(DF_USAGE, "the path of a model holds a character of 0");
    df_model* opened = nullptr;
    check(df_model_open(path.c_str(), &opened));
    handle_.reset(opened);
  }
  Model(const void* bytes, std::size_t size) {
    df_model* opened = nullptr;
    check(df_model_open_bytes(bytes, size, &opened));
    handle_.reset(opened);
  }

  df_model_info info() const {
    df_model_info info = sized<df_model_info>();
    check(df_model_get_info(handle_.get(), &info));
    return info;
  }
  const df_model* handle() const { return handle_.get(); }

 private:
  std::unique_ptr<df_model, detail::Close<df_model_close>> handle_;
};

// Answers, in the order of the pictures.
class Results {
 public:
  explicit Results(df_results* results) : handle_(results) {}

  std::size_t size() const { return df_results_count(handle_.get()); }
  // Valid as long as this object; i must be below size().
  const df_result& operator[](std::size_t i) const { return *df_results_get(handle_.get(), i); }

 private:
  std::unique_ptr<df_results, detail::Close<df_results_free>> handle_;
};

// For one thread at a time. It keeps the model alive.
class Session {
 public:
  explicit Session(const Model& model,
                   const df_session_options& options = sized<df_session_options>()) {
    df_session* opened = nullptr;
    check(df_session_open(model.handle(), &options, &opened));
    handle_.reset(opened);
  }

  Results classify(const std::vector<df_picture>& pictures, std::uint32_t extras = 0) {
    df_results* results = nullptr;
    check(df_classify(handle_.get(), pictures.data(), pictures.size(), extras, &results));
    return Results(results);
  }
  void selftest() { check(df_selftest(handle_.get())); }
  df_session* handle() { return handle_.get(); }

 private:
  std::unique_ptr<df_session, detail::Close<df_session_close>> handle_;
};

}  // namespace df

#endif  // DFENGINE_HPP

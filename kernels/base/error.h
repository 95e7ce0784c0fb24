// Exceptions of the library. Each kind maps to one exit code of the program
// (apps/dfengine/main.cpp).
#pragma once

#include <stdexcept>
#include <string>

namespace dfengine {

// Base of everything dfengine throws on purpose. what() says what failed, where, what to try.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked for something that makes no sense (bad option, bad combination).
class UsageError : public Error {
 public:
  using Error::Error;
};

// Shapes that do not fit each other or a layer.
class ShapeError : public Error {
 public:
  using Error::Error;
};

// Images, folders or tables that cannot be used.
class DataError : public Error {
 public:
  using Error::Error;
};

// A model, weights or checkpoint file that cannot be used.
class ModelFileError : public Error {
 public:
  using Error::Error;
};

// The device asked for is absent or failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

}  // namespace dfengine

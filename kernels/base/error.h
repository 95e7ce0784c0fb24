// Exceptions of the library. Each kind maps to one exit code of the program
// (apps/dfengine/main.cpp).
#pragma once

#include <stdexcept>

namespace dfengine {

// The base of everything that dfengine throws on purpose. what() says what failed, where it failed
// and what to try.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked for something that makes no sense, such as a bad option or combination.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Shapes do not fit each other or a layer.
class ShapeError : public Error {
 public:
  using Error::Error;
};

// Images, folders or tables cannot be used.
class DataError : public Error {
 public:
  using Error::Error;
};

// The system did not give a file's content: permissions, a network, a disk. A later try may
// succeed, so nothing may keep this answer.
class UnreadableFile : public DataError {
 public:
  using DataError::DataError;
};

// The system has no more memory, which says nothing about the data. The message names the size.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// A model, weights or checkpoint file cannot be used.
class ModelFileError : public Error {
 public:
  using Error::Error;
};

// The device that was asked for is absent or failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

// It has no more memory, and goes on with what it has.
class OutOfDeviceMemory : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

}  // namespace dfengine

# The CUDA side of dfengine_lib: included by CMakeLists.txt when DFENGINE_CUDA is on, and by tests/ptx.
find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATH_SUFFIXES bin
  PATHS /usr/local/cuda/bin DOC "The CUDA compiler")
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "DFENGINE_CUDA or DFENGINE_PTX is on, but nvcc was found neither on PATH nor in "
    "/usr/local/cuda/bin. Install the CUDA toolkit, set CUDA_PATH, or use --preset cpu.")
endif()
enable_language(CUDA)
# CMake 3.25 does not know nvcc's flag for C++20, which .cu files take from CMAKE_CXX_STANDARD.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
find_package(CUDAToolkit REQUIRED)
# Of both libraries the headers alone are needed here: a program opens them when it runs
# (kernels/cuda/tuning/shared_library.h).
find_path(CUBLASLT_INCLUDE_DIR cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS}
  DOC "Where cuBLASLt's headers are")
if(NOT CUBLASLT_INCLUDE_DIR)
  message(FATAL_ERROR "cublasLt.h was not found in ${CUDAToolkit_INCLUDE_DIRS}. Install it with the "
    "CUDA toolkit (libcublas-dev-*), or use --preset cpu.")
endif()
find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_PATH
  PATH_SUFFIXES include DOC "Where cuDNN's headers are")
if(NOT CUDNN_INCLUDE_DIR)
  message(FATAL_ERROR "The headers of cuDNN 9 were not found beside the CUDA toolkit. Install them "
    "(libcudnn9-dev-cuda-*), set CUDNN_PATH to where they lie, or use --preset cpu.")
endif()

file(GLOB_RECURSE CUDA_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
# What wgmma.cuh needs: instructions that only this architecture has and that no other code may have.
set(WARPGROUP_SOURCES ${PROJECT_SOURCE_DIR}/kernels/cuda/pointwise/pointwise_warpgroup.cu)
list(REMOVE_ITEM CUDA_SOURCES ${WARPGROUP_SOURCES})
# Targets of their own, so that CI can compile the kernels without building everything twice.
add_library(dfengine_cuda OBJECT ${CUDA_SOURCES})
add_library(dfengine_cuda_90a OBJECT ${WARPGROUP_SOURCES})
set_target_properties(dfengine_cuda_90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
foreach(target dfengine_cuda dfengine_cuda_90a)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_include_directories(${target} SYSTEM PRIVATE ${CUBLASLT_INCLUDE_DIR} ${CUDNN_INCLUDE_DIR})
  target_compile_options(${target} PRIVATE -lineinfo --expt-relaxed-constexpr
    -Xcompiler=-Wall,-Wextra,-Wshadow,-Wconversion)
  if(DFENGINE_WERROR)
    target_compile_options(${target} PRIVATE -Werror=all-warnings -Xcompiler=-Werror)
  endif()
endforeach()

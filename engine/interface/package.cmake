# What `cmake --install` leaves: headers, one library (static, or shared with BUILD_SHARED_LIBS), what
# find_package and pkg-config read, licence and third parties, and the program where it was built.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(INTERFACE_DIR ${PROJECT_SOURCE_DIR}/engine/interface)
file(STRINGS ${INTERFACE_DIR}/dfengine.h ABI_LINE REGEX "^#define DF_ABI_VERSION ")
string(REGEX MATCH "[0-9]+$" DFENGINE_ABI "${ABI_LINE}")

# What the static library needs beside itself: modules of pkg-config with the CMake packages and
# targets of the same libraries, and plain libraries.
set(PC_REQUIRES "")
set(PC_LIBS -lstdc++ -lm -lpthread -ldl)
# Of an object a program takes the functions it calls: the operations of training and of other devices
# lie beside those of inference.
set(LINK_OPTIONS LINKER:--gc-sections)
set(CMAKE_PACKAGES Threads)
set(CMAKE_LIBRARIES Threads::Threads stdc++ m ${CMAKE_DL_LIBS})
macro(needs module package target)
  list(APPEND PC_REQUIRES ${module})
  list(APPEND CMAKE_PACKAGES ${package})
  list(APPEND CMAKE_LIBRARIES ${target})
endmacro()
if(DFENGINE_PORTABLE)
  list(PREPEND PC_LIBS ${JPEG_LIBRARY} ${PNG_LIBRARY} ${WEBP_LIBRARY} ${ZLIB_LIBRARIES})
  list(PREPEND CMAKE_LIBRARIES ${JPEG_LIBRARY} ${PNG_LIBRARY} ${WEBP_LIBRARY} ${ZLIB_LIBRARIES})
else()
  needs(libjpeg JPEG JPEG::JPEG)
  needs(libpng PNG PNG::PNG)
  needs(zlib ZLIB ZLIB::ZLIB)
  needs(fmt fmt fmt::fmt)
  if(DFENGINE_WEBP)
    list(APPEND PC_REQUIRES libwebp)
    list(APPEND CMAKE_LIBRARIES webp)
  endif()
  if(DFENGINE_TAR)
    list(APPEND PC_REQUIRES libarchive)
    list(APPEND CMAKE_LIBRARIES archive)
  endif()
  if(DFENGINE_ZIP)
    list(APPEND PC_REQUIRES libzip)
    list(APPEND CMAKE_LIBRARIES zip)
  endif()
  if(DFENGINE_DOWNLOAD)
    needs(libcurl CURL CURL::libcurl)
  endif()
endif()
if(DFENGINE_ONNX)
  needs(protobuf-lite Protobuf protobuf::libprotobuf-lite)
endif()
if(DFENGINE_CUDA)
  list(APPEND CMAKE_PACKAGES CUDAToolkit)
  list(APPEND CMAKE_LIBRARIES CUDA::cudart_static)
  list(PREPEND PC_LIBS -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt)
endif()

if(BUILD_SHARED_LIBS)
  # Of the archive it takes what the interface calls.
  add_library(dfengine_shared SHARED $<TARGET_OBJECTS:room_interface>)
  target_link_libraries(dfengine_shared PRIVATE dfengine_lib)
  target_link_options(dfengine_shared PRIVATE
    "LINKER:--version-script=${INTERFACE_DIR}/exports.map,--gc-sections,-z,defs")
  set_target_properties(dfengine_shared PROPERTIES OUTPUT_NAME dfengine LINKER_LANGUAGE CXX
    SOVERSION ${DFENGINE_ABI}
    VERSION ${DFENGINE_ABI}.${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LINK_DEPENDS ${INTERFACE_DIR}/exports.map)
  install(TARGETS dfengine_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set(KIND SHARED)
  set(CMAKE_PACKAGES "")
  set(CMAKE_LIBRARIES "")
  set(LIBRARY_FILE libdfengine.so.${DFENGINE_ABI})
  set(LINK_OPTIONS "")
  set(PC_LIBS "")
  set(PC_REQUIRES "")
else()
  install(TARGETS dfengine_lib ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set(KIND STATIC)
  set(LIBRARY_FILE libdfengine.a)
endif()
if(NOT DFENGINE_MINIMAL)
  install(TARGETS dfengine RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

list(JOIN PC_REQUIRES " " PC_REQUIRES)
string(REPLACE LINKER: -Wl, PC_LINK_OPTIONS "${LINK_OPTIONS}")
list(JOIN PC_LIBS " " PC_LIBS)
# The files name each other by ways that stay right when the whole prefix moves.
file(RELATIVE_PATH PC_UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
set(PACKAGE_DIR ${PROJECT_BINARY_DIR}/package)
set(CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/dfengine)
configure_file(${INTERFACE_DIR}/dfengine.pc.in ${PACKAGE_DIR}/dfengine.pc @ONLY)
configure_package_config_file(${INTERFACE_DIR}/dfengine-config.cmake.in
  ${PACKAGE_DIR}/dfengine-config.cmake INSTALL_DESTINATION ${CONFIG_DIR}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PACKAGE_DIR}/dfengine-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${INTERFACE_DIR}/dfengine.h ${INTERFACE_DIR}/dfengine.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PACKAGE_DIR}/dfengine-config.cmake ${PACKAGE_DIR}/dfengine-config-version.cmake
  DESTINATION ${CONFIG_DIR})
install(FILES ${PACKAGE_DIR}/dfengine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The example as a program of this tree, against the headers as they lie here.
if(NOT DFENGINE_MINIMAL)
  add_executable(embed_example apps/embed_example/classify.cpp)
  target_include_directories(embed_example PRIVATE ${INTERFACE_DIR})
  target_link_libraries(embed_example PRIVATE dfengine_lib dfengine_flags)
endif()

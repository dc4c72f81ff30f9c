# The bridge's library, its program and its tests. They need libzmq and libjpeg-turbo; the rest of this folder does not.
option(ST4VLA_BRIDGE "Build the library st4vla_bridge and its program" ON)
if(NOT ST4VLA_BRIDGE)
  return()
endif()

# In a cross build, where cmake/aarch64_packages.sh has put them.
set(ST4VLA_AARCH64_ROOT "" CACHE PATH "Folder with arm64 packages, unpacked")
if(ST4VLA_AARCH64_ROOT)
  list(APPEND CMAKE_FIND_ROOT_PATH ${ST4VLA_AARCH64_ROOT})
  set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
  # What their libraries need in turn is there too, but is none of ours.
  foreach(folder lib usr/lib)
    add_link_options(-Wl,-rpath-link,${ST4VLA_AARCH64_ROOT}/${folder}/aarch64-linux-gnu)
  endforeach()
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${ST4VLA_AARCH64_ROOT})
endif()

function(import_library name header library)
  find_path(${name}_INCLUDE_DIR ${header})
  find_library(${name}_LIBRARY ${library})
  if(NOT ${name}_INCLUDE_DIR OR NOT ${name}_LIBRARY)
    return()
  endif()
  add_library(${name} UNKNOWN IMPORTED)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${${name}_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${${name}_INCLUDE_DIR})
endfunction()

import_library(ZeroMQ zmq.h zmq)
import_library(TurboJPEG turbojpeg.h turbojpeg)
if(NOT TARGET ZeroMQ OR NOT TARGET TurboJPEG)
  if(CMAKE_CROSSCOMPILING)
    message(STATUS "st4vla_bridge is left out: cmake/aarch64_packages.sh gets what it needs")
    return()
  endif()
  message(FATAL_ERROR "st4vla_bridge needs libzmq and libjpeg-turbo: sudo apt-get install libzmq3-dev "
    "libturbojpeg0-dev; or leave it out with -DST4VLA_BRIDGE=OFF")
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# CRC-32C by the processor's instructions is compiled apart, for processors that have them, and chosen when called.
function(add_crc32c_sources target)
  target_sources(${target} PRIVATE src/wire/crc32c.cpp)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(instructions -msse4.2)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(instructions -march=armv8-a+crc)
  endif()
  if(instructions)
    target_sources(${target} PRIVATE src/wire/crc32c_hardware.cpp)
    set_source_files_properties(src/wire/crc32c_hardware.cpp PROPERTIES COMPILE_OPTIONS "${instructions}")
    target_compile_definitions(${target} PRIVATE ST4VLA_HARDWARE_CRC32C)
  endif()
endfunction()

# The codec alone, which needs nobody else's library: also for what is fuzzed.
set(CODEC_SOURCES src/status.cpp src/wire/decode.cpp src/wire/encode.cpp)

# All of it once, for the library and for tests that look inside.
add_library(st4vla_bridge_objects OBJECT ${CODEC_SOURCES}
  src/thread.cpp
  src/bridge/bell.cpp src/bridge/bridge.cpp src/bridge/buffers.cpp src/bridge/clock_offset.cpp src/bridge/dealer.cpp
  src/bridge/intake.cpp
  src/bridge/jpeg.cpp src/bridge/key_files.cpp src/bridge/link.cpp src/bridge/link_calls.cpp
  src/bridge/link_reading.cpp src/bridge/local_socket.cpp src/bridge/room.cpp
  src/cameras/camera.cpp src/cameras/cameras.cpp src/cameras/folder.cpp src/cameras/jpeg_size.cpp
  src/cameras/memory.cpp src/cameras/pattern.cpp src/cameras/v4l2.cpp src/cameras/v4l2_calls.cpp)
add_crc32c_sources(st4vla_bridge_objects)
target_include_directories(st4vla_bridge_objects PUBLIC include src)
target_link_libraries(st4vla_bridge_objects PUBLIC ZeroMQ TurboJPEG Threads::Threads)
set_target_properties(st4vla_bridge_objects PROPERTIES POSITION_INDEPENDENT_CODE ON
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)

add_library(st4vla_bridge SHARED)
add_library(st4vla_bridge::st4vla_bridge ALIAS st4vla_bridge)
target_link_libraries(st4vla_bridge PRIVATE st4vla_bridge_objects)
target_include_directories(st4vla_bridge INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_options(st4vla_bridge PRIVATE -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/src/exports.map)
set_target_properties(st4vla_bridge PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 1
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/exports.map)

add_executable(st4vla_bridge_program
  src/tool/arguments.cpp src/tool/check.cpp src/tool/load.cpp src/tool/machine.cpp src/tool/main.cpp src/tool/ping.cpp
  src/tool/routes.cpp
  src/tool/stop.cpp src/tool/stream.cpp src/tool/stream_options.cpp src/tool/wakeups.cpp)
target_link_libraries(st4vla_bridge_program PRIVATE st4vla_bridge Threads::Threads)
set_target_properties(st4vla_bridge_program PROPERTIES OUTPUT_NAME st4vla-bridge INSTALL_RPATH "$ORIGIN/../lib")

include(cmake/bridge_install.cmake)

if(BUILD_TESTING)
  include(cmake/bridge_tests.cmake)
endif()

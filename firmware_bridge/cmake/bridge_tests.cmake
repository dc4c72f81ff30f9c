# Tests of the bridge's library, on this side of the wire.
function(add_bridge_test name source)
  add_executable(test_${name} tests/${source})
  target_link_libraries(test_${name} PRIVATE ${ARGN} Threads::Threads)
endfunction()

add_bridge_test(codec test_codec.cpp st4vla_bridge)
add_test(NAME codec COMMAND test_codec ${GOLDEN_DIRECTORY})

# What a processor without instructions for CRC-32C runs.
add_executable(test_codec_plain tests/test_codec.cpp ${CODEC_SOURCES} src/wire/crc32c.cpp)
target_include_directories(test_codec_plain PRIVATE include src)
add_test(NAME codec_plain COMMAND test_codec_plain ${GOLDEN_DIRECTORY})

add_bridge_test(bridge_abi test_bridge_abi.c st4vla_bridge)
add_test(NAME bridge_abi COMMAND test_bridge_abi)
set(BRIDGE_HEADERS bridge.h cameras.h control.h message.h player.h status.h stream.h)
list(TRANSFORM BRIDGE_HEADERS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/include/st4vla/)
add_test(NAME bridge_symbols COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/check_symbols.sh
  $<TARGET_FILE:st4vla_bridge> ${BRIDGE_HEADERS})

add_bridge_test(cameras test_cameras.cpp st4vla_bridge TurboJPEG)
add_test(NAME cameras COMMAND test_cameras)

# These look inside.
foreach(name buffers clock_offset intake local_socket v4l2)
  add_bridge_test(${name} test_${name}.cpp st4vla_bridge_objects)
  add_test(NAME ${name} COMMAND test_${name})
endforeach()

add_executable(test_machine tests/test_machine.cpp
  src/tool/load.cpp src/tool/machine.cpp src/tool/routes.cpp src/tool/wakeups.cpp)
target_include_directories(test_machine PRIVATE src)
target_link_libraries(test_machine PRIVATE st4vla_bridge Threads::Threads)
add_test(NAME machine COMMAND test_machine)

add_executable(bench_wire tests/bench_wire.cpp)
target_link_libraries(bench_wire PRIVATE st4vla_bridge_objects)

# The decoders, with what is fed to them: -DST4VLA_FUZZ=ON with clang. Start it on tests/data/wire.
if(ST4VLA_FUZZ)
  add_executable(fuzz_decode tests/fuzz_decode.cpp ${CODEC_SOURCES} src/cameras/jpeg_size.cpp)
  add_crc32c_sources(fuzz_decode)
  target_include_directories(fuzz_decode PRIVATE include src)
  target_compile_options(fuzz_decode PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_decode PRIVATE -fsanitize=fuzzer)
endif()

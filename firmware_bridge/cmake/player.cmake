# The 1 kHz player, its tests, its benchmark and its fuzzer.
set(PLAYER_SOURCES src/player/abi.cpp src/player/arm.cpp src/player/course.cpp src/player/followers.cpp
                   src/player/inbox.cpp src/player/past.cpp
                   src/player/player.cpp src/player/reference.cpp src/player/rotation.cpp src/player/settings.cpp)

# Objects, for libraries of ours that contain the player. Exceptions are off: nothing in a step may throw.
add_library(st4vla_player_objects OBJECT ${PLAYER_SOURCES})
target_include_directories(st4vla_player_objects PUBLIC include PRIVATE src)
target_compile_options(st4vla_player_objects PRIVATE -fno-exceptions -fno-rtti -Wshadow -Wconversion -Wdouble-promotion
                                                     -fno-math-errno -fno-trapping-math)
# Not -O3: a step runs once a millisecond, from cold caches, and costs less the less code there is of it.
target_compile_options(st4vla_player_objects PRIVATE $<$<CONFIG:Release>:-O2>)
set_target_properties(st4vla_player_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                       VISIBILITY_INLINES_HIDDEN ON)

add_library(st4vla_player SHARED $<TARGET_OBJECTS:st4vla_player_objects>)
target_include_directories(st4vla_player PUBLIC include)
set_target_properties(st4vla_player PROPERTIES SOVERSION 1 LINKER_LANGUAGE CXX)
# Unoptimised, templates of the standard library would be shown too.
target_link_options(st4vla_player PRIVATE -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/src/player/abi.map)
set_property(TARGET st4vla_player APPEND PROPERTY LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/player/abi.map)
install(TARGETS st4vla_player LIBRARY DESTINATION lib)

option(ST4VLA_FUZZ "Build libFuzzer targets; needs clang" OFF)

if(BUILD_TESTING)
  find_package(Threads REQUIRED)

  # Tests that look inside link the objects, those of the ABI the library.
  foreach(name missed walls braking rotation slot timing watchdog bounds joints gripper threads random)
    add_executable(test_player_${name} tests/player/test_${name}.cpp)
    target_include_directories(test_player_${name} PRIVATE src tests)
    target_link_libraries(test_player_${name} PRIVATE st4vla_player_objects Threads::Threads)
    add_test(NAME player_${name} COMMAND test_player_${name})
  endforeach()

  add_executable(test_player_abi tests/player/test_abi.c)
  target_include_directories(test_player_abi PRIVATE tests)
  target_link_libraries(test_player_abi PRIVATE st4vla_player m)
  add_test(NAME player_abi COMMAND test_player_abi)

  # They take malloc's place, and look at what is called: sanitizers do both themselves.
  if(NOT ST4VLA_SANITIZE)
    add_executable(test_player_no_allocation tests/player/test_no_allocation.cpp)
    target_include_directories(test_player_no_allocation PRIVATE src tests)
    target_link_libraries(test_player_no_allocation PRIVATE st4vla_player_objects)
    add_test(NAME player_no_allocation COMMAND test_player_no_allocation)
    add_test(NAME player_symbols COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tests/player/check_symbols.sh ${CMAKE_NM}
                                         $<TARGET_FILE:st4vla_player> $<TARGET_OBJECTS:st4vla_player_objects>
             COMMAND_EXPAND_LISTS)
  endif()

  add_executable(bench_player tests/player/bench_player.cpp)
  target_include_directories(bench_player PRIVATE src tests)
  target_link_libraries(bench_player PRIVATE st4vla_player Threads::Threads)
endif()

if(ST4VLA_FUZZ)
  add_executable(fuzz_player tests/player/fuzz_player.cpp ${PLAYER_SOURCES})
  target_include_directories(fuzz_player PRIVATE include src tests)
  target_compile_options(fuzz_player PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_player PRIVATE -fsanitize=fuzzer)
endif()

# The control loop, from cameras to player in one go, and the Franka where libfranka is installed. After player.cmake and
# bridge.cmake.
add_library(st4vla_control_objects OBJECT src/control/control.cpp src/control/hand.cpp src/stream/stream.cpp)
target_include_directories(st4vla_control_objects PUBLIC include PRIVATE src)
target_link_libraries(st4vla_control_objects PUBLIC Threads::Threads)
set_target_properties(st4vla_control_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                        VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(st4vla_bridge PRIVATE st4vla_control_objects st4vla_player_objects)

# libfranka's headers are in no package that can be relied on: where they are not, `st4vla drive` uses pylibfranka.
find_package(Franka QUIET)
if(Franka_FOUND)
  add_library(st4vla_franka SHARED src/franka/franka.cpp)
  target_include_directories(st4vla_franka PUBLIC include)
  target_link_libraries(st4vla_franka PRIVATE Franka::Franka)
  set_target_properties(st4vla_franka PROPERTIES SOVERSION 1 CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  install(TARGETS st4vla_franka LIBRARY DESTINATION lib)
endif()

if(BUILD_TESTING)
  foreach(name control memory)
    add_executable(test_${name} tests/test_${name}.cpp)
    target_link_libraries(test_${name} PRIVATE st4vla_bridge Threads::Threads)
    add_test(NAME ${name} COMMAND test_${name})
  endforeach()
endif()

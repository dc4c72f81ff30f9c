# The control loop, from cameras to player in one go, and the Franka where libfranka is installed. After player.cmake and
# bridge.cmake.
add_library(st4vla_control_objects OBJECT src/control/control.cpp src/control/gripper_process.cpp src/control/hand.cpp
                                          src/stream/stream.cpp)
target_include_directories(st4vla_control_objects PUBLIC include PRIVATE src)
target_link_libraries(st4vla_control_objects PUBLIC Threads::Threads)
set_target_properties(st4vla_control_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                        VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(st4vla_bridge PRIVATE st4vla_control_objects st4vla_player_objects)

# libfranka as it installs itself, or its headers (its own include/ and that of libfranka-common) beside a library, such
# as the one in pylibfranka's wheel of the same version. Where neither is, `st4vla drive` uses pylibfranka.
set(ST4VLA_FRANKA_HEADERS "" CACHE STRING "Folders of libfranka's headers, where find_package(Franka) finds none")
set(ST4VLA_FRANKA_LIBRARY "" CACHE FILEPATH "libfranka.so, to go with ST4VLA_FRANKA_HEADERS")
find_package(Franka QUIET)
if(NOT Franka_FOUND AND ST4VLA_FRANKA_HEADERS AND ST4VLA_FRANKA_LIBRARY)
  add_library(Franka::Franka SHARED IMPORTED)
  set_target_properties(Franka::Franka PROPERTIES IMPORTED_LOCATION ${ST4VLA_FRANKA_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES "${ST4VLA_FRANKA_HEADERS}")
endif()
if(TARGET Franka::Franka)
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

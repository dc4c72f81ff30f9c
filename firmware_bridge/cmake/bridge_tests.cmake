# Tests of the bridge's library, on this side of the wire.
add_executable(test_codec tests/test_codec.cpp)
target_link_libraries(test_codec PRIVATE st4vla_bridge)
add_test(NAME codec COMMAND test_codec ${GOLDEN_DIRECTORY})

add_executable(test_bridge_abi tests/test_bridge_abi.c)
target_link_libraries(test_bridge_abi PRIVATE st4vla_bridge)
add_test(NAME bridge_abi COMMAND test_bridge_abi)

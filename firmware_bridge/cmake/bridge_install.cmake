# The installed package: find_package(st4vla_bridge), and pkg-config's st4vla_bridge.
include(CMakePackageConfigHelpers)

set(package_directory lib/cmake/st4vla_bridge)
install(TARGETS st4vla_bridge EXPORT st4vla_bridge_targets LIBRARY DESTINATION lib)
install(TARGETS st4vla_bridge_program RUNTIME DESTINATION bin)
install(EXPORT st4vla_bridge_targets NAMESPACE st4vla_bridge:: FILE st4vla_bridge-targets.cmake
  DESTINATION ${package_directory})

configure_package_config_file(cmake/st4vla_bridge-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge-config.cmake INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge-config-version.cmake DESTINATION ${package_directory})

configure_file(cmake/st4vla_bridge.pc.in ${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/st4vla_bridge.pc DESTINATION lib/pkgconfig)

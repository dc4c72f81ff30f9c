# ST4VLA_SANITIZE is what -fsanitize takes, for everything that is built; a finding ends the program.
set(ST4VLA_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(ST4VLA_SANITIZE)
  add_compile_options(-fsanitize=${ST4VLA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ST4VLA_SANITIZE})
endif()

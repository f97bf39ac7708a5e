# With clang and BERTH_FUZZ a libFuzzer program; elsewhere its corpus is replayed.
add_executable(fuzz_spec ${CMAKE_CURRENT_LIST_DIR}/fuzz_spec.c)
target_link_libraries(fuzz_spec PRIVATE berth::spec)
if(BERTH_FUZZ)
    target_compile_definitions(fuzz_spec PRIVATE BERTH_LIBFUZZER)
    target_link_options(fuzz_spec PRIVATE -fsanitize=fuzzer)
else()
    file(GLOB corpus CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/golden/bad/*.yaml ${PROJECT_SOURCE_DIR}/tests/golden/good/*.yaml
         ${PROJECT_SOURCE_DIR}/examples/*.yaml ${CMAKE_CURRENT_LIST_DIR}/corpus/spec/*)
    add_test(NAME fuzz.spec_corpus COMMAND fuzz_spec ${corpus})
endif()

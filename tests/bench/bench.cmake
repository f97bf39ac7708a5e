# Built, not run by ctest: a time is never a pass or a fail. Only the counts are a test.
foreach(name IN ITEMS limit timeit)
    add_executable(bench_${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
    target_compile_definitions(bench_${name} PRIVATE _GNU_SOURCE)
    target_compile_options(bench_${name} PRIVATE -O2)
    target_link_libraries(bench_${name} PRIVATE Threads::Threads)
    set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/bench)
endforeach()

find_program(BATS bats)
# A sanitizer asks the system for things of its own.
if(BATS AND NOT CMAKE_C_FLAGS MATCHES "sanitize")
    add_test(NAME bench.counts COMMAND ${BATS} ${CMAKE_CURRENT_LIST_DIR}/counts.bats)
    set_tests_properties(bench.counts PROPERTIES ENVIRONMENT "BERTH=$<TARGET_FILE:berth>" TIMEOUT 300 LABELS bench)
endif()

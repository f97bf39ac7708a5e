# Tests against the running kernel, each in namespaces of its own. 77: this kernel or this user cannot.
foreach(name IN ITEMS build facts threads)
    add_executable(kernel_${name} ${CMAKE_CURRENT_LIST_DIR}/kernel_${name}.c)
    target_link_libraries(kernel_${name} PRIVATE berth::netops Threads::Threads)
    add_test(NAME kernel_${name} COMMAND kernel_${name})
    set_tests_properties(kernel_${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 60 LABELS netns)
endforeach()
# Exact counts: the price of one container in system calls and messages.
add_executable(kernel_count ${CMAKE_CURRENT_LIST_DIR}/kernel_count.c)
target_link_libraries(kernel_count PRIVATE berth::netops)
add_test(NAME kernel_count COMMAND ${CMAKE_CURRENT_LIST_DIR}/kernel_count.sh $<TARGET_FILE:kernel_count>)
set_tests_properties(kernel_count PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 60 LABELS netns)

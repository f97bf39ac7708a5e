# Real kernels, namespaces of their own; 77: this kernel or user cannot.
foreach(name IN ITEMS nft_tables nft_packets)
    add_executable(test_${name} netns/${name}.c)
    target_link_libraries(test_${name} PRIVATE berth::netops)
    add_test(NAME netns.${name} COMMAND test_${name})
    set_tests_properties(netns.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()

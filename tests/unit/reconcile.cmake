add_executable(test_rec_plan ${CMAKE_CURRENT_LIST_DIR}/rec_plan.c)
target_link_libraries(test_rec_plan PRIVATE berth::reconcile)
add_test(NAME golden.plan COMMAND test_rec_plan ${PROJECT_SOURCE_DIR}/tests/golden/plan)

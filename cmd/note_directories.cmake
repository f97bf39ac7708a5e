# Part of `cmake --install`: append the directories that are not there yet to
# install_directories.txt in the build folder.
# A second installation finds them there, and their lines stay.
set(made)
foreach(directory IN LISTS BERTH_INSTALL_DIRS)
    if(NOT IS_ABSOLUTE ${directory})
        set(directory ${CMAKE_INSTALL_PREFIX}/${directory})
    endif()
    while(NOT directory STREQUAL "/" AND NOT EXISTS $ENV{DESTDIR}${directory})
        list(APPEND made ${directory})
        get_filename_component(directory ${directory} DIRECTORY)
    endwhile()
endforeach()
if(made)
    list(REMOVE_DUPLICATES made)
    list(JOIN made "\n" made)
    file(APPEND ${BERTH_BUILD}/install_directories.txt "${made}\n")
endif()

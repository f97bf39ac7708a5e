# Remove what `cmake --install` wrote: the files of its manifest, then the directories that it
# had to make.
#   cmake -DBUILD=DIR -P uninstall.cmake        DESTDIR as for the installation
cmake_minimum_required(VERSION 3.25)
set(manifest ${BUILD}/install_manifest.txt)
set(made ${BUILD}/install_directories.txt)
set(root "$ENV{DESTDIR}")
if(NOT EXISTS ${manifest})
    message(FATAL_ERROR "cannot uninstall berth: there is no ${manifest}; "
                        "install it from this build first: cmake --install ${BUILD}")
endif()
file(STRINGS ${manifest} files)

# An enabled unit would leave a dangling link, and the next boot would not apply the spec.
# Only the user may decide that.
set(enabled)
foreach(file IN LISTS files)
    get_filename_component(unit ${file} NAME)
    if(NOT unit MATCHES "\\.(service|timer|path)$")
        continue()
    endif()
    file(GLOB links
        ${root}/etc/systemd/system/*.wants/${unit} ${root}/etc/systemd/system/*.requires/${unit}
        ${root}/run/systemd/system/*.wants/${unit} ${root}/run/systemd/system/*.requires/${unit})
    foreach(link IN LISTS links)
        if(IS_SYMLINK ${link})
            file(READ_SYMLINK ${link} target)
            if(target STREQUAL file AND NOT unit IN_LIST enabled)
                list(APPEND enabled ${unit})
            endif()
        endif()
    endforeach()
endforeach()
if(enabled)
    list(JOIN enabled " " units)
    message(FATAL_ERROR "cannot uninstall berth: enabled units: ${units}; nothing was removed. "
                        "Disable them first: systemctl disable --now ${units}")
endif()

foreach(file IN LISTS files)
    if(IS_SYMLINK ${root}${file} OR EXISTS ${root}${file})
        message(STATUS "Removing: ${root}${file}")
        file(REMOVE ${root}${file})
        if(IS_SYMLINK ${root}${file} OR EXISTS ${root}${file})
            message(FATAL_ERROR "cannot remove '${root}${file}': "
                                "run this as the user who installed it")
        endif()
    else()
        message(STATUS "Already gone: ${root}${file}")
    endif()
endforeach()

# Deepest first. A directory that holds anything by now stays.
if(EXISTS ${made})
    file(STRINGS ${made} directories)
    list(SORT directories ORDER DESCENDING)
    foreach(directory IN LISTS directories)
        if(IS_DIRECTORY ${root}${directory} AND NOT IS_SYMLINK ${root}${directory})
            execute_process(COMMAND rmdir ${root}${directory} RESULT_VARIABLE status ERROR_QUIET)
            if(status EQUAL 0)
                message(STATUS "Removing: ${root}${directory}")
            endif()
        endif()
    endforeach()
    file(REMOVE ${made})
endif()
file(REMOVE ${manifest})

if(root STREQUAL "")
    file(GLOB state /run/berth/*)
    list(REMOVE_ITEM state /run/berth/lock)
    if(state)
        message(NOTICE "The bridges and containers that berth made are still on this host. "
                       "To remove them, install berth again, then: berth destroy --yes")
    endif()
endif()

unit_tests += tests/unit/proxy/test_access_format
tests_unit_proxy_test_access_format_SOURCES = tests/unit/proxy/test_access_format.c
unit_tests += tests/unit/proxy/test_fcgi_params
tests_unit_proxy_test_fcgi_params_SOURCES = tests/unit/proxy/test_fcgi_params.c
unit_tests += tests/unit/proxy/test_files_range
tests_unit_proxy_test_files_range_SOURCES = tests/unit/proxy/test_files_range.c
unit_tests += tests/unit/proxy/test_pipe
tests_unit_proxy_test_pipe_SOURCES = tests/unit/proxy/test_pipe.c

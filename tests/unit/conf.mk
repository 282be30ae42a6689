unit_tests += tests/unit/conf/test_options
tests_unit_conf_test_options_SOURCES = tests/unit/conf/test_options.c
unit_tests += tests/unit/conf/test_settings
tests_unit_conf_test_settings_SOURCES = tests/unit/conf/test_settings.c
unit_tests += tests/unit/conf/test_source
tests_unit_conf_test_source_SOURCES = tests/unit/conf/test_source.c
unit_tests += tests/unit/conf/test_cidr
tests_unit_conf_test_cidr_SOURCES = tests/unit/conf/test_cidr.c

unit_tests += tests/unit/run/test_channel
tests_unit_run_test_channel_SOURCES = tests/unit/run/test_channel.c
unit_tests += tests/unit/run/test_pack
tests_unit_run_test_pack_SOURCES = tests/unit/run/test_pack.c

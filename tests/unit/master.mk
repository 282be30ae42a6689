unit_tests += tests/unit/master/test_backoff
tests_unit_master_test_backoff_SOURCES = tests/unit/master/test_backoff.c
unit_tests += tests/unit/master/test_state
tests_unit_master_test_state_SOURCES = tests/unit/master/test_state.c
unit_tests += tests/unit/master/test_members
tests_unit_master_test_members_SOURCES = tests/unit/master/test_members.c
unit_tests += tests/unit/master/test_listeners
tests_unit_master_test_listeners_SOURCES = tests/unit/master/test_listeners.c

unit_tests += tests/unit/base/test_text
tests_unit_base_test_text_SOURCES = tests/unit/base/test_text.c
unit_tests += tests/unit/base/test_limit
tests_unit_base_test_limit_SOURCES = tests/unit/base/test_limit.c
unit_tests += tests/unit/base/test_arena
tests_unit_base_test_arena_SOURCES = tests/unit/base/test_arena.c

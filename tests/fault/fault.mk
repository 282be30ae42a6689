# Built at run time by tests/wire/test_fault.py, which preloads it into the program.
EXTRA_DIST += tests/fault/refuse.c

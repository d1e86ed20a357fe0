"""What holds for all tests."""

from hypothesis import settings

# No test is timed: a busy machine is no fault of the code.
settings.register_profile("anicca", deadline=None)
settings.load_profile("anicca")

"""Programs that run inside a build sandbox, on the toolchain's Python, with `anicca.debian.builders.lib` beside them."""

from __future__ import annotations

import pytest
from tests.unit.debian.pins import pin

from anicca.debian.modules import check_headers, headers_of
from anicca.errors import AniccaError


@pytest.mark.parametrize(
    ("image", "headers"),
    [
        ("linux-image-6.12.118+deb13-amd64", "linux-headers-6.12.118+deb13-amd64"),
        ("linux-image-6.12.118+deb13-cloud-amd64", "linux-headers-6.12.118+deb13-cloud-amd64"),
        ("linux-image-6.12.118+deb13-amd64-unsigned", "linux-headers-6.12.118+deb13-amd64"),
    ],
)
def test_the_headers_are_those_of_the_trees_kernel(image: str, headers: str) -> None:
    found = headers_of([pin("less", "668-1"), pin("linux-image-amd64"), pin(image, "6.12.118-1")])
    assert (found.name, found.version) == (headers, "6.12.118-1")


@pytest.mark.parametrize("kernels", [[], ["linux-image-6.1-amd64", "linux-image-6.12-amd64"]])
def test_a_module_is_for_one_kernel(kernels: list[str]) -> None:
    with pytest.raises(AniccaError, match=", ".join(kernels) or "none"):
        headers_of([pin("linux-image-amd64"), *map(pin, kernels)])


def test_headers_of_another_version_are_refused() -> None:
    headers = pin("linux-headers-6.12-amd64", "6.12.118-1")
    check_headers([headers], headers)
    other = pin("linux-headers-6.12-amd64", "6.12.118-2")
    with pytest.raises(AniccaError, match=r"needs linux-headers-\S+ 6\.12\.118-1, and the archive has 6\.12\.118-2"):
        check_headers([other], headers)

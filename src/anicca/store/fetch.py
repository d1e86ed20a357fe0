"""`builtin:fetchurl`: one file from a URL, its hash known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from anicca.store.context import BuildContext


def fetchurl(context: BuildContext) -> None:
    """Fetch the derivation's `url` into `out`; `executable` makes it so. Unpacking is not done here."""
    from anicca.store.download import download  # noqa: PLC0415 (httpx only where used)

    if not context.drv.is_fixed:
        raise AniccaError("builtin:fetchurl needs an output whose hash is fixed")
    url = context.env.get("url")
    if not url:
        raise AniccaError("builtin:fetchurl needs a url")
    if context.env.get("unpack", "") not in ("", "0"):
        raise AniccaError("builtin:fetchurl does not unpack here")
    target = context.outputs["out"]
    download(url, target, task=context.drv.name, report=context.report, stop=context.checkpoint)
    if context.env.get("executable", "") not in ("", "0"):
        target.chmod(0o755)

"""Derivations: what to build and from what, Nix's `.drv` to the byte, and the paths that follow from them.

A derivation's outputs are named by `hashDerivationModulo` (nix `derivations.cc`): the hash of the derivation with each
input derivation replaced by its own such hash, so that how a fixed output is fetched changes no name that depends on
it. Everything here is in memory; no store is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from anicca.store import aterm, base32
from anicca.store.hashes import SIZES, Hash
from anicca.store.path import StorePath, check_name, make_fixed_path, make_output_path, make_text_path, output_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Output:
    """Where an output goes. A fixed one has `method_algorithm` (`sha256`, `r:sha1`) and `hash_hex`; others have ""."""

    path: str
    method_algorithm: str = ""
    hash_hex: str = ""

    @property
    def fixed(self) -> tuple[bool, Hash] | None:
        """Whether the hash is over the NAR, and the hash; None unless the output is fixed."""
        if not self.method_algorithm:
            return None
        recursive = self.method_algorithm.startswith("r:")
        return recursive, Hash(self.method_algorithm.removeprefix("r:"), bytes.fromhex(self.hash_hex))


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """One build step. Collections are kept sorted by the functions that make them, as the format demands."""

    name: str
    system: str
    builder: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str]
    input_sources: frozenset[StorePath] = frozenset()
    input_derivations: Mapping[StorePath, frozenset[str]]
    outputs: Mapping[str, Output]

    @property
    def is_fixed(self) -> bool:
        """Whether the one output's hash is known beforehand."""
        return any(o.method_algorithm for o in self.outputs.values())

    @property
    def references(self) -> frozenset[StorePath]:
        """What the `.drv` file itself refers to."""
        return self.input_sources | self.input_derivations.keys()

    @property
    def output_paths(self) -> dict[str, StorePath]:
        """The outputs' store paths by name."""
        return {name: StorePath.parse(o.path) for name, o in self.outputs.items()}

    def path(self) -> StorePath:
        """The path of the `.drv` file."""
        return make_text_path(self.name + ".drv", unparse(self), self.references)


def unparse(drv: Derivation) -> bytes:
    """The `.drv` file."""
    inputs = {str(path): names for path, names in drv.input_derivations.items()}
    return _unparse(drv, inputs, drv.outputs, drv.env)


def _unparse(
    drv: Derivation,
    inputs: Mapping[str, Iterable[str]],
    outputs: Mapping[str, Output],
    env: Mapping[str, str],
) -> bytes:
    """The ATerm with other inputs, outputs and environment than the derivation's own."""
    quote = aterm.quote
    text = "".join(
        (
            "Derive([",
            ",".join(
                [
                    f'({quote(name)},"{o.path}","{o.method_algorithm}","{o.hash_hex}")'
                    for name, o in sorted(outputs.items())
                ]
            ),
            "],[",
            ",".join([f'("{path}",{aterm.strings(sorted(names))})' for path, names in sorted(inputs.items())]),
            "],",
            aterm.strings(sorted(map(str, drv.input_sources))),
            f",{quote(drv.system)},{quote(drv.builder)},",
            aterm.strings(drv.args),
            ",[",
            ",".join([f"({quote(key)},{quote(value)})" for key, value in sorted(env.items())]),
            "])",
        )
    )
    return text.encode("utf-8", "surrogateescape")


def parse(content: bytes, name: str) -> Derivation:
    """Read a `.drv` file; `name` is its store path's without `.drv`. Raises AtermError with the offset."""
    reader = aterm.Reader(content.decode("utf-8", "surrogateescape"))
    reader.expect("Derive([")
    outputs: dict[str, Output] = {}
    while reader.more(first=not outputs):
        start = reader.at
        reader.expect("(")
        output = reader.string()
        fields = []
        for _ in range(3):
            reader.expect(",")
            fields.append(reader.string())
        reader.expect(")")
        _check_output(start, output, *fields)
        if output in outputs:
            raise aterm.AtermError(start, f"output {output!r} twice")
        outputs[output] = Output(*fields)
    reader.expect(",[")
    inputs: dict[StorePath, frozenset[str]] = {}
    while reader.more(first=not inputs):
        start = reader.at
        reader.expect("(")
        path = _path(start, reader.string())
        reader.expect(",")
        inputs[path] = frozenset(reader.strings())
        reader.expect(")")
    reader.expect(",")
    start = reader.at
    sources = frozenset(_path(start, text) for text in reader.strings())
    reader.expect(",")
    system = reader.string()
    reader.expect(",")
    builder = reader.string()
    reader.expect(",")
    args = tuple(reader.strings())
    reader.expect(",[")
    env: dict[str, str] = {}
    while reader.more(first=not env):
        reader.expect("(")
        key = reader.string()
        reader.expect(",")
        env[key] = reader.string()
        reader.expect(")")
    reader.expect(")")
    reader.end()
    return Derivation(
        name=name,
        system=system,
        builder=builder,
        args=args,
        env=env,
        input_sources=sources,
        input_derivations=inputs,
        outputs=outputs,
    )


def _path(offset: int, text: str) -> StorePath:
    try:
        return StorePath.parse(text)
    except ValueError as error:
        raise aterm.AtermError(offset, str(error)) from error


def _check_output(offset: int, name: str, path: str, method_algorithm: str, hash_hex: str) -> None:
    """Refuse outputs that are neither input-addressed nor fixed."""
    _path(offset, path)
    if not method_algorithm and not hash_hex:
        return
    size = SIZES.get(method_algorithm.removeprefix("r:"))
    if size is None or len(hash_hex) != 2 * size or name != "out":
        raise aterm.AtermError(offset, f"output {name!r} of unknown kind {method_algorithm!r} {hash_hex!r}")
    try:
        bytes.fromhex(hash_hex)
    except ValueError as error:
        raise aterm.AtermError(offset, f"output {name!r}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instantiated:
    """A derivation with the paths that follow from it, and the instantiated inputs it was made with."""

    drv: Derivation
    path: StorePath
    outputs: Mapping[str, StorePath]
    content: bytes = field(repr=False)
    """The `.drv` file."""
    modulo_hex: str
    """What stands for this derivation in the hashes of those that depend on it (unmasked, base 16)."""
    inputs: tuple[Instantiated, ...] = field(repr=False)

    @property
    def out(self) -> StorePath:
        """The path of the output named `out`."""
        return self.outputs["out"]

    def __str__(self) -> str:
        return str(self.path)


def instantiate(
    *,
    name: str,
    system: str,
    builder: str,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    inputs: Mapping[Instantiated, Iterable[str]] | Iterable[Instantiated] = (),
    sources: Iterable[StorePath] = (),
    outputs: Sequence[str] = ("out",),
    fixed: Hash | None = None,
    recursive: bool = False,
) -> Instantiated:
    """The derivation that Nix's `derivation` primitive makes of these, with its paths.

    `inputs` are the derivations it needs, with the names of the outputs needed (without a mapping: `out` of each).
    `fixed` is the output's hash where it is known beforehand, over the NAR if `recursive`. The environment gets what
    Nix puts there: name, builder, system, each output's path; `outputs` where there are others than `out`;
    outputHash, outputHashAlgo and outputHashMode. Raises ValueError on names that cannot be.
    """
    check_name(name)
    if name.endswith(".drv"):
        raise ValueError(f"{name!r}: only a derivation's own file may be named .drv")
    wanted = _wanted(inputs)
    full = {**(env or {}), "name": name, "builder": builder, "system": system}
    if tuple(outputs) != ("out",):
        full["outputs"] = " ".join(outputs)
    blank = dict.fromkeys(sorted(outputs), Output(""))
    if len(blank) != len(outputs) or not blank:
        raise ValueError(f"{name!r}: outputs {outputs!r} are not a set of names")
    for output in blank:
        check_name(output_name(name, output))
    if fixed is not None:
        if tuple(outputs) != ("out",):
            raise ValueError(f"{name!r}: a fixed output is alone and named 'out'")
        full["outputHash"] = fixed.hex
        full["outputHashAlgo"] = fixed.algorithm
        full["outputHashMode"] = "recursive" if recursive else "flat"
    masked = Derivation(
        name=name,
        system=system,
        builder=builder,
        args=tuple(args),
        env=full,
        input_sources=frozenset(sources),
        input_derivations={i.path: frozenset(names) for i, names in wanted},
        outputs=blank,
    )
    by_modulo = _by_modulo(wanted)
    if fixed is not None:
        out = make_fixed_path(name, "recursive" if recursive else "flat", fixed)
        method = ("r:" if recursive else "") + fixed.algorithm
        paths = {"out": out}
        final = {"out": Output(str(out), method, fixed.hex)}
    else:
        digest = sha256(_unparse(masked, by_modulo, blank, {**full, **dict.fromkeys(blank, "")})).hexdigest()
        paths = {output: make_output_path(name, output, digest) for output in blank}
        final = {output: Output(str(path)) for output, path in paths.items()}
    drv = Derivation(
        name=name,
        system=system,
        builder=builder,
        args=masked.args,
        env={**full, **{output: str(path) for output, path in paths.items()}},
        input_sources=masked.input_sources,
        input_derivations=masked.input_derivations,
        outputs=final,
    )
    content = unparse(drv)
    return Instantiated(
        drv=drv,
        path=make_text_path(name + ".drv", content, drv.references),
        outputs=paths,
        content=content,
        modulo_hex=_modulo(drv, by_modulo),
        inputs=tuple(i for i, _names in wanted),
    )


def _wanted(
    inputs: Mapping[Instantiated, Iterable[str]] | Iterable[Instantiated],
) -> list[tuple[Instantiated, set[str]]]:
    """Each input once, by path, with the names of its outputs that are needed."""
    pairs = inputs.items() if hasattr(inputs, "items") else [(i, ("out",)) for i in inputs]
    merged: dict[StorePath, tuple[Instantiated, set[str]]] = {}
    for item, names in pairs:
        known = merged.setdefault(item.path, (item, set()))[1]
        known.update(names)
        unknown = known - item.outputs.keys()
        if unknown:
            raise ValueError(f"{item.path}: has no output {', '.join(sorted(unknown))}")
    return [merged[path] for path in sorted(merged)]


def _by_modulo(wanted: Iterable[tuple[Instantiated, set[str]]]) -> dict[str, set[str]]:
    """Inputs keyed by modulo hash; two that hash alike become one with the outputs of both."""
    merged: dict[str, set[str]] = {}
    for item, names in wanted:
        merged.setdefault(item.modulo_hex, set()).update(names)
    return merged


def _modulo(drv: Derivation, by_modulo: Mapping[str, Iterable[str]]) -> str:
    """What stands for `drv` in others' hashes."""
    if drv.is_fixed:
        out = drv.outputs["out"]
        return sha256(f"fixed:out:{out.method_algorithm}:{out.hash_hex}:{out.path}".encode()).hexdigest()
    return sha256(_unparse(drv, by_modulo, drv.outputs, drv.env)).hexdigest()


def from_derivation(drv: Derivation, path: StorePath, inputs: Mapping[StorePath, Instantiated]) -> Instantiated:
    """A derivation that was read, with its inputs, as if made here. Raises ValueError if its outputs are not its own.

    `inputs` has all of `drv.input_derivations`.
    """
    wanted = [(inputs[i], set(names)) for i, names in sorted(drv.input_derivations.items())]
    by_modulo = _by_modulo(wanted)
    paths = drv.output_paths
    if drv.is_fixed:
        fixed = drv.outputs["out"].fixed
        assert fixed is not None
        expected = {"out": make_fixed_path(drv.name, "recursive" if fixed[0] else "flat", fixed[1])}
    else:
        blank = dict.fromkeys(drv.outputs, Output(""))
        masked_env = {key: "" if key in drv.outputs else value for key, value in drv.env.items()}
        digest = sha256(_unparse(drv, by_modulo, blank, masked_env)).hexdigest()
        expected = {output: make_output_path(drv.name, output, digest) for output in drv.outputs}
    if expected != paths:
        raise ValueError(f"{path}: its outputs are not named by what it is made from")
    return Instantiated(
        drv=drv,
        path=path,
        outputs=paths,
        content=unparse(drv),
        modulo_hex=_modulo(drv, by_modulo),
        inputs=tuple(i for i, _names in wanted),
    )


def placeholder(output: str) -> str:
    """What stands for an output's path in a derivation's own arguments and environment until it is built."""
    return "/" + base32.encode(sha256(f"nix-output:{output}".encode()).digest())

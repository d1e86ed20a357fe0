"""The local store: objects on disk, valid when registered in the database.

Order of every write: into a working directory inside the store, canonical metadata, synced, renamed into place,
registered in one transaction. A cut at any moment leaves nothing registered that is not whole; leftovers are
unregistered names, which the garbage collector removes.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self

from anicca import fs
from anicca.errors import AniccaError
from anicca.events import ignore
from anicca.store import base32, layout, locks
from anicca.store.aside import AsideHasher
from anicca.store.hashes import Hash
from anicca.store.nar import File, dump, dump_bytes, hash_path, hash_views, watched
from anicca.store.path import StorePath, content_address, make_fixed_path, make_source_path, make_text_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from types import TracebackType

    from anicca.events import Report
    from anicca.store.db import Database
    from anicca.store.derivation import Derivation, Instantiated
    from anicca.store.info import PathInfo
    from anicca.store.path import Method
    from anicca.store.session import Session

    Keep = Callable[[bytes, os.stat_result], bool]


SMALL_BYTES = 1 << 20
"""Up to here, to copy a file costs less than to look whether it is known."""


class LocalStore:
    """A store below `root` (None: `/`). Opening touches nothing; it is created when first written to.

    Safe to share between threads. Use as a context manager, or call `close`.
    """

    def __init__(self, root: Path | None = None, *, durable: bool = True, link_equal: bool = False) -> None:
        top = (root or Path("/")).absolute()
        self.root = top
        self.store_dir = top / "nix" / "store"
        self.state_dir = top / "nix" / "var" / "nix"
        self.log_dir = top / "nix" / "var" / "log" / "nix" / "drvs"
        self._durable = durable
        self._link_equal = link_equal
        self._lock = threading.RLock()
        self._db: Database | None = None
        self._big_lock = -1
        self._session: Session | None = None

    @classmethod
    def open(cls, root: Path | None = None, *, durable: bool = True, link_equal: bool = False) -> Self:
        """The store below `root`. Without `durable`, a power cut may lose what was just added (for tests).

        With `link_equal`, files that are added become links to equal ones that are there (`optimise`).
        """
        return cls(root, durable=durable, link_equal=link_equal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up locks, temporary roots and the working directory. The store may be used again afterwards."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None
            if self._db is not None:
                self._db.close()
                self._db = None
            if self._big_lock >= 0:
                os.close(self._big_lock)
                self._big_lock = -1

    # Opening

    @property
    def exists(self) -> bool:
        """Whether anything was ever written to this store."""
        return (self.state_dir / "db" / "db.sqlite").exists()

    def reading(self) -> Database | None:
        """The database, None while the store does not exist."""
        with self._lock:
            if self._db is None and self.exists:
                self._open(create=False)
            return self._db

    def writing(self, *, adopt: bool = False) -> Database:
        """The database, the store made if it does not exist. AniccaError if it cannot be written.

        Refused if there are objects but no database, unless they are to be adopted: all would be garbage.
        """
        with self._lock:
            if self._db is None:
                create = not self.exists
                if create and not adopt:
                    self._refuse_orphans()
                self._open(create=create)
            assert self._db is not None
            if self._db.read_only:
                raise AniccaError(
                    f"{self.store_dir}: this store is read-only for you",
                    hint="run as its owner (root, for /nix/store), or use a store of your own with --store DIR",
                )
            return self._db

    def _open(self, *, create: bool) -> None:
        from anicca.store.db import SCHEMA_VERSION, Database  # noqa: PLC0415 (sqlite only where used)

        directory = self.state_dir / "db"
        try:
            if create:
                layout.make_directories(self.store_dir, self.state_dir)
            writable = os.access(directory, os.W_OK)
            if writable:
                self._big_lock = locks.open_lock(directory / "big-lock")
                locks.lock(self._big_lock, exclusive=create)
            schema = directory / "schema"
            version = schema.read_text().strip() if schema.exists() else None
            if version not in (None, SCHEMA_VERSION):
                raise AniccaError(f"{directory}: the store has schema {version}, this program knows {SCHEMA_VERSION}")
            self._db = Database(directory, create=create or (version is None and writable))
            if version is None and writable:
                fs.write_atomic(schema, SCHEMA_VERSION.encode())
            if create:
                locks.lock(self._big_lock, exclusive=False)
            if writable:
                layout.reserve(directory / "reserved")
        except OSError as error:
            raise AniccaError(
                f"{error.filename or directory}: {error.strerror}",
                hint="run as root for /nix/store, or use a store of your own with --store DIR",
            ) from error

    def _refuse_orphans(self) -> None:
        """A new database beside old objects would make all of them garbage."""
        if layout.has_objects(self.store_dir):
            raise AniccaError(
                f"{self.state_dir / 'db' / 'db.sqlite'}: lost, though the store has objects",
                hint="restore it from a backup, or `anicca store rebuild-db` makes one of what is provably whole",
            )

    # Asking

    def physical(self, path: StorePath) -> Path:
        """Where the object lies, or would lie, on disk."""
        return self.store_dir / path.basename

    def is_valid(self, path: StorePath) -> bool:
        """Whether the object is registered, so whole."""
        return bool(self.valid((path,)))

    def valid(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Those of `paths` that are registered."""
        db = self.reading()
        return set() if db is None else db.valid(paths)

    def all_valid(self) -> list[StorePath]:
        """Every registered path, sorted."""
        db = self.reading()
        return [] if db is None else db.all_valid()

    def infos(self, paths: Collection[StorePath] | None = None) -> dict[StorePath, PathInfo]:
        """What is known of those of `paths` (None: all) that are valid."""
        db = self.reading()
        return {} if db is None else db.infos(paths)

    def info(self, path: StorePath) -> PathInfo:
        """What is known of a valid object; AniccaError if it is not."""
        found = self.infos((path,)).get(path)
        if found is None:
            raise AniccaError(f"{path}: not valid in this store")
        return found

    def closure(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Valid objects of `paths` and all that they refer to, directly or not. AniccaError if one is not valid."""
        wanted = list(paths)
        db = self.reading()
        found = set() if db is None else db.closure(wanted)
        for path in wanted:
            if path not in found:
                raise AniccaError(f"{path}: not valid in this store")
        return found

    def sorted_by_need(self, paths: Iterable[StorePath]) -> list[StorePath]:
        """Those of `paths` that are valid, what is referred to first, as `nix-store` prints them."""
        db = self.reading()
        return [] if db is None else db.sorted_by_need(paths)

    def read_derivation(self, path: StorePath) -> Derivation:
        """The derivation in a `.drv` of this store."""
        from anicca.store.derivation import parse  # noqa: PLC0415 (most users make their own)

        if not path.is_derivation:
            raise AniccaError(f"{path}: not a derivation")
        try:
            return parse(self.physical(path).read_bytes(), path.name.removesuffix(".drv"))
        except FileNotFoundError as error:
            raise AniccaError(f"{path}: not in this store") from error

    def nar(self, path: StorePath) -> Iterator[bytes]:
        """The NAR of a valid object, in chunks."""
        self.info(path)
        return dump(self.physical(path))

    # Adding

    def protect(self, paths: Iterable[StorePath]) -> None:
        """Keep `paths` from every garbage collector until this store is closed, valid already or not."""
        session = self.session()
        with self._room():
            session.protect(paths)

    def session(self) -> Session:
        """What we hold while we write to this store, until it is closed."""
        self.writing()
        with self._lock:
            if self._session is None:
                from anicca.store.session import Session  # noqa: PLC0415 (readers need none)

                self._session = Session(str(self.store_dir), str(self.state_dir))
            return self._session

    @property
    def writable(self) -> bool:
        """Whether something can be added, as far as that can be told beforehand."""
        db = self.reading()
        return db is None or not db.read_only

    def workspace(self) -> Path:
        """A directory on the store's filesystem for things under way; removed when the store is closed."""
        session = self.session()
        with self._room():
            return Path(session.workspace())

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A fresh directory in the workspace, removed afterwards."""
        directory = self.workspace() / base32.encode(os.urandom(8))
        try:
            with self._room():
                directory.mkdir()
                yield directory
        finally:
            fs.remove_tree(directory)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say what to do where the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise AniccaError(
                    f"{self.store_dir}: no space left on the device; nothing half there is registered",
                    hint="`anicca store gc` frees what nothing needs",
                ) from error
            raise

    def add_text(self, name: str, content: bytes | str, references: Iterable[StorePath] = ()) -> StorePath:
        """A flat file with `content`, addressed by it. What it refers to must be valid."""
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        refs = frozenset(references)
        path = make_text_path(name, raw, refs)
        self.add_texts({path: (raw, refs)})
        return path

    def add_texts(
        self,
        texts: Mapping[StorePath, tuple[bytes, frozenset[StorePath]]],
        derivations: Mapping[StorePath, Mapping[str, StorePath]] | None = None,
    ) -> None:
        """Many texts with their references, in one transaction; `derivations` has the outputs of `.drv` files."""
        from anicca.store.info import PathInfo  # noqa: PLC0415 (readers may need none)

        # Protected first: what is valid now may be collected before it is used.
        self.protect(texts)
        known = self.valid(texts)
        missing = [p for p in texts if p not in known]
        if not missing:
            return
        infos = []
        with self.scratch() as directory:
            staged = {}
            for path in missing:
                content, references = texts[path]
                staged[path] = directory / path.basename
                staged[path].write_bytes(content)
                archive = dump_bytes(File(content))
                infos.append(
                    PathInfo(
                        path=path,
                        nar_hash=Hash("sha256", sha256(archive).digest()),
                        nar_size=len(archive),
                        references=references,
                        content_address=content_address("text", Hash("sha256", sha256(content).digest())),
                    )
                )
            self.install(staged, infos, derivations={p: o for p, o in (derivations or {}).items() if p in staged})

    def add_derivation(self, *instantiated: Instantiated) -> None:
        """Write the `.drv` files of derivations and of all they are made from. Their sources must be valid."""
        every: dict[StorePath, Instantiated] = {}
        todo = list(instantiated)
        while todo:
            item = todo.pop()
            if item.path not in every:
                every[item.path] = item
                todo += item.inputs
        self.add_texts(
            {path: (i.content, i.drv.references) for path, i in every.items()},
            {path: i.outputs for path, i in every.items()},
        )

    def add_path(
        self,
        name: str,
        source: Path,
        keep: Keep | None = None,
        *,
        method: Method = "recursive",
        algorithm: str = "sha256",
        references: Iterable[StorePath] = (),
        report: Report = ignore,
    ) -> StorePath:
        """A copy of a file or tree, addressed by its content. `keep` says which entries below the top are part of it.

        Raises AniccaError on devices, sockets and pipes, and if the source changes meanwhile.
        """
        refs = frozenset(references)
        if method == "flat":
            return self._add_flat(name, source, algorithm)
        # Where something of that name is valid, it probably is this: look before copying. For a small file that would
        # cost more than to copy it, the more so the more objects there are.
        db = self.reading()
        if db is not None and _is_large(source) and db.has_name(name):
            path = make_fixed_path(name, "recursive", hash_path(source, algorithm, keep=keep)[0], refs)
            if not self._wanted(path):
                return path
        self.writing()
        with self.scratch() as directory:
            from anicca.store.nar_copy import copy_canonical  # noqa: PLC0415 (readers need none)

            staged = directory / "tree"
            views = copy_canonical(source, staged, keep=keep)
            nar_hash, size = hash_views(watched(views, f"add {name}", report))
            content = nar_hash if algorithm == "sha256" else hash_path(staged, algorithm)[0]
            path = make_fixed_path(name, "recursive", content, refs)
            if self._wanted(path):
                address = content_address("recursive", content)
                self.install({path: staged}, [self._new(path, nar_hash, size, refs, address)])
        return path

    def _add_flat(self, name: str, source: Path, algorithm: str) -> StorePath:
        from anicca.store.hashes import hasher  # noqa: PLC0415 (rare)

        with self.scratch() as directory:
            staged = directory / "file"
            state = hasher(algorithm)
            with source.open("rb") as reading, staged.open("wb") as writing:
                while chunk := reading.read(1 << 18):
                    state.update(chunk)
                    writing.write(chunk)
            content = Hash(algorithm, state.digest())
            path = make_fixed_path(name, "flat", content)
            if self._wanted(path):
                from anicca.store.canonical import canonicalise  # noqa: PLC0415 (readers need none)

                seen = canonicalise(staged)
                address = content_address("flat", content)
                info = self._new(path, seen.nar_hash, seen.nar_size, frozenset(), address)
                self.install({path: staged}, [info])
        return path

    def _wanted(self, path: StorePath) -> bool:
        """Protect `path`; whether it must still be made."""
        self.protect((path,))
        return not self.is_valid(path)

    @staticmethod
    def _new(path: StorePath, nar_hash: Hash, size: int, references: frozenset[StorePath], address: str) -> PathInfo:
        from anicca.store.info import PathInfo  # noqa: PLC0415 (readers need none)

        return PathInfo(path=path, nar_hash=nar_hash, nar_size=size, references=references, content_address=address)

    def add_nar(self, info: PathInfo, chunks: Iterator[bytes]) -> None:
        """An object from its NAR, as a substituter or an import gives it; AniccaError unless it is what `info` says.

        Whether `info` is to be trusted is for the caller to know. What it refers to must be valid.
        """
        from anicca.store.canonical import set_tree_metadata  # noqa: PLC0415 (readers need none)
        from anicca.store.nar_restore import restore  # noqa: PLC0415

        if not self._wanted(info.path):
            for _chunk in chunks:
                pass
            return
        with self.scratch() as directory:
            staged = directory / info.path.basename
            state = AsideHasher()
            size = 0

            def tee() -> Iterator[bytes]:
                nonlocal size
                for chunk in chunks:
                    size += len(chunk)
                    if size > info.nar_size:
                        raise AniccaError(f"{info.path}: more than the {info.nar_size} bytes that it should have")
                    state.update(chunk)
                    yield chunk

            try:
                restore(tee(), staged)
            finally:
                state.finish()
            if size != info.nar_size:
                raise AniccaError(f"{info.path}: {size} bytes instead of {info.nar_size}")
            found = Hash("sha256", state.digest())
            if found != info.nar_hash:
                raise AniccaError(f"{info.path}: has hash {found} instead of {info.nar_hash}")
            set_tree_metadata(staged)
            derivations = {}
            if info.path.is_derivation:
                from anicca.store.derivation import parse  # noqa: PLC0415

                drv = parse(staged.read_bytes(), info.path.name.removesuffix(".drv"))
                derivations[info.path] = drv.output_paths
            self.install({info.path: staged}, [info], derivations=derivations)

    def install(
        self,
        staged: Mapping[StorePath, Path],
        infos: Collection[PathInfo],
        *,
        derivations: Mapping[StorePath, Mapping[str, StorePath]] | None = None,
        locked: bool = False,
    ) -> None:
        """Move canonical trees from the workspace into place and register them, all in one transaction.

        `locked`: the caller holds the paths' locks already, and knows that none is valid.
        """
        if not locked:
            with locks.path_locks(self.physical(p) for p in staged):
                done = self.valid(staged)
                self.install(
                    {p: s for p, s in staged.items() if p not in done},
                    [i for i in infos if i.path not in done],
                    derivations={p: o for p, o in (derivations or {}).items() if p not in done},
                    locked=True,
                )
            return
        for tree in staged.values():
            _finish(tree)
        if self._durable:
            from anicca.store.durable import make_durable  # noqa: PLC0415 (readers need none)

            make_durable(staged.values())
        for path, tree in staged.items():
            self.put_in_place(tree, path)
        if self._durable:
            fs.sync_directory(self.store_dir)
        self.register(infos, derivations)
        if self._link_equal:
            from anicca.store.optimise import optimise  # noqa: PLC0415 (where asked for)

            optimise(self, staged)

    def put_in_place(self, tree: Path, path: StorePath) -> None:
        """Move a tree of the workspace to where `path` lies, and what lay there (a leftover, or damaged) away."""
        target = self.physical(path)
        if target.is_symlink() or target.exists():
            old = self.workspace() / f"old-{base32.encode(os.urandom(8))}"
            _move(target, old)
            _move(tree, target)
            fs.remove_tree(old)
        else:
            _move(tree, target)

    def register(
        self, infos: Collection[PathInfo], derivations: Mapping[StorePath, Mapping[str, StorePath]] | None = None
    ) -> None:
        """Make objects that lie in place valid. Those without a registration time get the present one."""
        from dataclasses import replace  # noqa: PLC0415 (where used)

        now = int(time.time())
        self.writing().register(
            [i if i.registration_time else replace(i, registration_time=now) for i in infos], derivations
        )

    # Roots

    def add_root(self, name: str, path: StorePath) -> Path:
        """Keep `path` through garbage collections, under `gcroots/<name>`; the link."""
        self.protect((path,))
        link = self.state_dir / "gcroots" / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise AniccaError(f"{name!r}: not a name for a root")
        fs.make_public_directory(link.parent)
        fs.symlink_atomic(link, str(path))
        return link

    def add_indirect_root(self, link: Path, path: StorePath) -> None:
        """Make `link`, anywhere, point to `path`, which is kept as long as the link is there."""
        from anicca.store.roots import indirect_root_name  # noqa: PLC0415 (readers need none)

        self.protect((path,))
        link = link.absolute()
        if not link.is_symlink() and link.exists():
            raise AniccaError(f"{link}: exists and is no link; it was left alone")
        link.parent.mkdir(parents=True, exist_ok=True)
        fs.symlink_atomic(link, str(path))
        fs.symlink_atomic(self.state_dir / "gcroots" / "auto" / indirect_root_name(link), str(link))

    def verify(self, *, check_contents: bool = False) -> list[str]:
        """What is wrong with the store, one sentence each. See `anicca.store.verify`."""
        from anicca.store.verify import verify  # noqa: PLC0415 (where used)

        return [str(f) for f in verify(self, check_contents=check_contents)]


def source_path_of(name: str, source: Path, keep: Keep | None = None) -> StorePath:
    """The path that `add_path` would give; no store is needed."""
    return make_source_path(name, hash_path(source, keep=keep)[0])


def _is_large(source: Path) -> bool:
    try:
        status = source.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) or status.st_size >= SMALL_BYTES


def _finish(tree: Path) -> None:
    """Set the top's canonical metadata, wherever the tree came from."""
    from anicca.store.canonical import set_metadata  # noqa: PLC0415 (readers need none)

    set_metadata(os.fsencode(tree), tree.lstat())


def _move(tree: Path, target: Path) -> None:
    """Rename; an unprivileged owner must be able to write a directory to give it another parent."""
    if stat.S_ISDIR(tree.lstat().st_mode) and os.geteuid() != 0:
        tree.chmod(0o755)
        tree.rename(target)
        target.chmod(0o555)
    else:
        tree.rename(target)

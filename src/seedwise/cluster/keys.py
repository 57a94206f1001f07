"""Keys of the connections between driver and workers, made for one run."""

import contextlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from distributed import Security

from seedwise.disk.files import make_own_folder
from seedwise.errors import KeyFolderError

KEY_FILE = "key.pem"
LINK_FILE = "dashboard.url"

# A node whose clock is slow would refuse a certificate that is valid from now on.
_CLOCKS_DIFFER_BY = timedelta(days=1)
_VALID_FOR = timedelta(days=400)


@contextlib.contextmanager
def run_keys(folder: Path) -> Iterator[Security]:
    """Make keys in a folder of their own, and remove them in the end, unless others are there.

    There is one key and one certificate, which all sides show and trust. What this yields holds
    the certificate, which is not secret, and the path of the key: so if another user replaces this
    folder by theirs, nobody trusts what is in it. Raises KeyFolderError if it is not safe.
    """
    key, certificate = _key_and_certificate()
    made = False
    try:
        _make(folder, key)
        made = True
        check_keys(folder)
        roles = ("client", "scheduler", "worker")
        shown = {f"tls_{role}_cert": certificate.decode() for role in roles}
        shown |= {f"tls_{role}_key": str(folder / KEY_FILE) for role in roles}
        yield Security(require_encryption=True, tls_ca_file=certificate.decode(), **shown)
    finally:
        are_theirs = False
        with contextlib.suppress(OSError):
            are_theirs = made and (folder / KEY_FILE).read_bytes() != key
        if not are_theirs:
            remove_keys(folder)


def check_keys(folder: Path) -> None:
    """Raise KeyFolderError for keys that others could reach."""
    _check(folder, stat.S_ISDIR, "a folder")
    _check(folder / KEY_FILE, stat.S_ISREG, "a file")
    _check_above(folder)


def write_link(folder: Path, link: str) -> None:
    """Write the dashboard's link, with its token, beside the keys, with which it is removed."""
    try:
        with _opened(folder) as handle:
            _write(handle, LINK_FILE, f"{link}\n".encode())
    except OSError as error:
        raise KeyFolderError(folder / LINK_FILE, f"it can't be written ({error})") from error


def remove_keys(folder: Path) -> bool:
    """Remove keys, and their folder if it is empty then; return whether there was something."""
    removed = False
    with contextlib.suppress(OSError):
        with _opened(folder) as handle:
            for name in (KEY_FILE, LINK_FILE):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=handle)
                    removed = True
        folder.rmdir()
        removed = True
    return removed


def _make(folder: Path, key: bytes) -> None:
    remove_keys(folder)
    try:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # the check tells whether it may be used
            make_own_folder(folder)
        _check(folder, stat.S_ISDIR, "a folder")
        with _opened(folder) as handle:
            _write(handle, KEY_FILE, key)
            os.fsync(handle)
    except OSError as error:
        raise KeyFolderError(folder, f"no keys can be made there ({error})") from error


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _write(folder: int, name: str, data: bytes) -> None:
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)  # workers on other machines read it


def _check(path: Path, is_kind: Callable[[int], bool], kind: str) -> None:
    try:
        found = path.lstat()
    except OSError as error:
        raise KeyFolderError(path, f"it can't be looked at ({error})") from error
    if not is_kind(found.st_mode):
        raise KeyFolderError(path, f"it is not {kind}")
    if found.st_uid != os.geteuid():
        raise KeyFolderError(path, f"it belongs to the user with id {found.st_uid}, not to you")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise KeyFolderError(path, f"others may use it (its mode is {mode:04o})")


def _check_above(folder: Path) -> None:
    """Refuse a folder that everybody could rename, even by a folder far above it.

    Workers look for the keys by their path. A sticky folder, as /tmp is, lets only owners rename.
    Folders that a group may write to are accepted, as the folders of a project are like that.
    """
    folder = folder.absolute()
    try:
        # By its links, and by what they lead to: either could be replaced.
        above = dict.fromkeys([*folder.parents, *folder.resolve().parents])
        for path in above:
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                # To remove it would be bad advice: this folder may hold all that a user has.
                raise KeyFolderError(
                    path,
                    "everybody may write to it, and so could replace the folder that holds the "
                    f"keys of the run's connections, {folder}",
                    f"Run 'chmod o-w {shlex.quote(str(path))}', or give another run_root.",
                )
    except OSError as error:
        raise KeyFolderError(folder, f"what is above it can't be looked at ({error})") from error


def _key_and_certificate() -> tuple[bytes, bytes]:
    """Return a private key, and a certificate that it has signed for itself, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seedwise")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER_BY)
        .not_valid_after(now - _CLOCKS_DIFFER_BY + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("seedwise")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return private, certificate.public_bytes(pem)

"""Keys of a run: out of the reach of others, on disk for as long as they are needed."""

from __future__ import annotations

import multiprocessing
import os
import re
import shlex
import signal
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from distributed import Security

from seedwise.cluster.keys import (
    KEY_FILE,
    LINK_FILE,
    check_keys,
    remove_keys,
    run_keys,
    write_link,
)
from seedwise.errors import KeyFolderError

NAMES = {KEY_FILE}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a run, with blanks" / "keys"


@pytest.fixture
def umask():
    """Set the umask, and set it back in the end."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_folder_and_files_are_ours_alone(folder, umask, mask):
    umask(mask)
    with run_keys(folder):
        assert mode(folder) == 0o700
        assert {path.name: mode(path) for path in folder.iterdir()} == dict.fromkeys(NAMES, 0o600)
    assert not folder.exists()


def certificate_of(security):
    return x509.load_pem_x509_certificate(security.tls_ca_file.encode())


def test_the_security_holds_the_certificate_and_no_secret(folder):
    with run_keys(folder) as security:
        assert security.require_encryption is True
        assert certificate_of(security).version is x509.Version.v3
        for role in ("client", "scheduler", "worker"):
            assert security.get_tls_config_for_role(role) == {
                "ca_file": security.tls_ca_file,
                "cert": security.tls_ca_file,
                "key": str(folder / KEY_FILE),
                "ciphers": None,
            }


def test_another_folder_in_its_place_is_of_no_use(folder, tmp_path):
    """With a key of somebody else in it, nobody is let in who has that key."""
    with run_keys(folder) as ours, run_keys(tmp_path / "theirs") as theirs:
        assert handshake(ours, ours) == "hello"
        folder.rename(tmp_path / "away")
        folder.symlink_to(tmp_path / "theirs")
        for of_role in (ours.get_listen_args, ours.get_connection_args):
            with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
                of_role("worker")
        del theirs
        folder.unlink()
        (tmp_path / "away").rename(folder)


def test_keys_of_the_driver_that_took_over_are_left_alone(folder):
    silent = run_keys(folder)
    silent.__enter__()
    with run_keys(folder):
        key = (folder / KEY_FILE).read_bytes()
        silent.__exit__(None, None, None)
        assert (folder / KEY_FILE).read_bytes() == key
    assert not folder.exists()


def test_the_certificate(folder):
    now = datetime.now(UTC)
    with run_keys(folder) as security:
        certificate = certificate_of(security)
        key = load_pem_private_key((folder / KEY_FILE).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)
    # Clocks of the nodes differ; a run may take a year.
    assert certificate.not_valid_before_utc < now - timedelta(hours=23)
    assert certificate.not_valid_after_utc > now + timedelta(days=365)


def test_no_two_runs_have_the_same_keys(folder):
    found = []
    for _ in range(2):
        with run_keys(folder):
            found.append((folder / KEY_FILE).read_bytes())
    assert found[0] != found[1]


def handshake(server: Security, client: Security) -> str:
    """Return what comes of a TLS handshake and one message."""
    ours, theirs = socket.socketpair()
    accepting = server.get_listen_args("scheduler")["ssl_context"]
    connecting = client.get_connection_args("worker")["ssl_context"]

    def serve():
        with ours:
            try:
                with accepting.wrap_socket(ours, server_side=True) as connection:
                    connection.sendall(b"hello")
            except ssl.SSLError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs, connecting.wrap_socket(theirs, server_hostname="node") as connection:
            return connection.recv(5).decode()
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__
    finally:
        thread.join()


def test_they_let_in_each_other_and_nobody_else(tmp_path):
    with run_keys(tmp_path / "a") as a, run_keys(tmp_path / "b") as b:
        assert handshake(a, a) == "hello"
        assert handshake(a, b) == handshake(b, a) == "SSLCertVerificationError"


def test_leftovers_of_a_killed_driver_are_removed_first(folder):
    folder.mkdir(parents=True, mode=0o755)
    for name in NAMES:
        (folder / name).write_text("old")
    with run_keys(folder):
        assert mode(folder) == 0o700
        assert (folder / KEY_FILE).read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert not folder.exists()


def killed_with_keys(folder):
    with run_keys(folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_keys_survive_a_kill_and_go_at_the_next_start(folder):
    process = multiprocessing.get_context("spawn").Process(target=killed_with_keys, args=(folder,))
    process.start()
    process.join()
    left = (folder / KEY_FILE).read_bytes()
    with run_keys(folder):
        assert (folder / KEY_FILE).read_bytes() != left
    assert not folder.exists()


@pytest.mark.parametrize("what", ["key", "folder"])
def test_what_is_gone_already_does_not_matter(folder, what):
    with run_keys(folder):
        (folder / KEY_FILE).unlink()
        if what == "folder":
            folder.rmdir()
    assert not folder.exists()


def test_they_go_when_the_run_fails(folder):
    with pytest.raises(ZeroDivisionError), run_keys(folder):
        raise ZeroDivisionError
    assert not folder.exists()


def test_a_file_of_somebody_else_is_left_alone(folder):
    with run_keys(folder):
        (folder / "notes.txt").write_text("mine")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with run_keys(folder):  # it is ours alone: it will do
        pass


def test_remove_keys(folder):
    assert not remove_keys(folder)
    folder.mkdir(parents=True)
    assert remove_keys(folder)
    folder.mkdir()
    (folder / KEY_FILE).touch()
    assert remove_keys(folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").touch()
    assert not remove_keys(folder)
    assert folder.exists()


def test_removing_keys_follows_no_link(folder, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / KEY_FILE).touch()
    folder.parent.mkdir()
    folder.symlink_to(target)
    assert not remove_keys(folder)
    assert (target / KEY_FILE).exists()


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_the_link_lies_beside_the_keys_and_goes_with_them(folder, umask, mask):
    umask(mask)
    with run_keys(folder):
        write_link(folder, "http://127.0.0.1:8787/status?token=secret")
        assert mode(folder / LINK_FILE) == 0o600
        text = (folder / LINK_FILE).read_text()
        assert text == "http://127.0.0.1:8787/status?token=secret\n"
    assert not folder.exists()


def test_a_link_that_was_left_goes_and_one_that_can_not_be_written_is_an_error(folder):
    folder.mkdir(parents=True)
    (folder / LINK_FILE).write_text("old")
    with run_keys(folder):
        assert not (folder / LINK_FILE).exists()
    with pytest.raises(KeyFolderError, match="it can't be written"):
        write_link(folder, "a link")


# What is refused, with its reason.


def refusal(path, problem):
    return pytest.raises(KeyFolderError, match=rf"^{re.escape(str(path))}: {problem}.*mode 0700")


def test_a_folder_that_others_may_use(folder):
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()
    folder.chmod(0o750)
    with refusal(folder, r"others may use it \(its mode is 0750\)"), run_keys(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@as_root
def test_a_folder_of_another_user(folder):
    folder.mkdir(parents=True, mode=0o700)
    (folder / "notes.txt").touch()
    os.chown(folder, 65534, 65534)
    with refusal(folder, "it belongs to the user with id 65534, not to you"), run_keys(folder):
        pass


def test_a_link_in_place_of_the_folder(folder, tmp_path):
    (tmp_path / "target").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "target")
    with refusal(folder, "it is not a folder"), run_keys(folder):
        pass
    assert not list((tmp_path / "target").iterdir())


def test_a_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "keys"
    with refusal(folder, "no keys can be made there"), run_keys(folder):
        pass


def test_keys_are_checked_before_they_are_used(folder, tmp_path):
    with run_keys(folder):
        check_keys(folder)
        key = folder / KEY_FILE
        key.chmod(0o640)
        with refusal(key, r"others may use it \(its mode is 0640\)"):
            check_keys(folder)
        moved = key.rename(tmp_path / "moved")
        with refusal(key, "it can't be looked at"):
            check_keys(folder)
        moved.chmod(0o600)
        key.symlink_to(moved)
        with refusal(key, "it is not a file"):
            check_keys(folder)
        key.unlink()
        moved.rename(key)
        check_keys(folder)


@as_root
def test_a_key_of_another_user(folder):
    with run_keys(folder):
        os.chown(folder / KEY_FILE, 65534, 65534)
        with refusal(folder / KEY_FILE, "it belongs to the user with id 65534"):
            check_keys(folder)


# What is above: who may write there could put a folder of theirs in its place.


@pytest.mark.parametrize("above", ["the run", "runs", "a/b"])
def test_a_folder_that_anybody_could_rename_away(tmp_path, above):
    folder = tmp_path / "a/b/runs/the run/keys"
    folder.parent.mkdir(parents=True)
    (open_one,) = [path for path in folder.parents if str(path).endswith(f"/{above}")]
    open_one.chmod(0o777)
    with pytest.raises(KeyFolderError) as caught, run_keys(folder):
        pass
    assert caught.value.path == open_one
    text = str(caught.value)
    assert text.startswith(f"{open_one}: everybody may write to it")
    assert str(folder) in text
    assert f"'chmod o-w {shlex.quote(str(open_one))}', or give another run_root" in text
    assert "emove" not in text
    assert not folder.exists()
    open_one.chmod(0o775)  # the folders of a project are like that
    with run_keys(folder):
        pass
    open_one.chmod(0o1777)  # as /tmp is
    with run_keys(folder):
        open_one.chmod(0o777)
        with pytest.raises(KeyFolderError):
            check_keys(folder)


def test_what_a_link_leads_to_counts_and_so_does_where_it_lies(tmp_path, monkeypatch):
    for name in ("link's", "target's"):
        (tmp_path / name).mkdir()
    (tmp_path / "target's" / "runs").mkdir()
    (tmp_path / "link's" / "runs").symlink_to(tmp_path / "target's" / "runs")
    for name in ("link's", "target's"):
        (tmp_path / name).chmod(0o777)
        with pytest.raises(KeyFolderError) as caught, run_keys(tmp_path / "link's/runs/a/keys"):
            pass
        assert caught.value.path == tmp_path / name
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path / "link's")
    with run_keys(Path("runs/a/keys")):
        Path("runs").resolve().chmod(0o777)
        with pytest.raises(KeyFolderError):
            check_keys(Path("runs/a/keys"))

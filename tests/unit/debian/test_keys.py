from __future__ import annotations

import keys
import pytest

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n"


@pytest.mark.parametrize(
    "content",
    [
        b"-----BEGIN PRIVATE KEY-----\n" + BODY,
        b"-----BEGIN RSA PRIVATE KEY-----\r\n" + BODY,
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + BODY,
        b"-----BEGIN EC PRIVATE KEY-----\n" + BODY,
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + BODY,
        b"a certificate first\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBGJ0AAABCADABCDEFGHIJKL\n",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\nlQOYBGJ0AAABCADABCDEFGHIJKL\n",
        b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
        b"# created: today\nAGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQ\n",
    ],
)
def test_private_keys_are_seen(content: bytes) -> None:
    assert keys.looks_private(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n" + BODY,
        b"-----BEGIN PUBLIC KEY-----\n" + BODY,
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZD9PhGEnCqQ+c3Z6pnTaTisSZU7yHFyxMk4TWFnWIF ann@example\n",
        # what byte code and scripts that read keys hold
        b"\x00-----BEGIN OPENSSH PRIVATE KEY-----\x00s\x00-----END OPENSSH PRIVATE KEY-----\x00",
        b"grep -q '-----BEGIN RSA PRIVATE KEY-----' \"$file\"\n",
        b"the file starts with -----BEGIN PRIVATE KEY-----\nand ends otherwise\n",
    ],
)
def test_what_only_speaks_of_keys_is_not_one(content: bytes) -> None:
    assert not keys.looks_private(content)
